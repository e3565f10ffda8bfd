"""Servers with manners of their own: real HTTP servers, raw ones that say whatever a test wants, and a certificate authority for them."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.crypto.certificates import OF_AUTHORITIES

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

STREAM_BYTES_MAX = 16 * 1024 * 1024


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A real HTTP server that answers every request with `handle`; its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=0.2), tls=tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


@asynccontextmanager
async def listening(runner: web.AppRunner, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port on loopback at which an application is served, a free one by default."""
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", port))
    await web.SockSite(runner, listener, ssl_context=tls).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        await stop_accepting(listener)
        await runner.cleanup()


async def stop_accepting(*listeners: socket.socket) -> None:
    """Before a server is closed to which somebody may be connecting: asyncio never closes what it accepts in that very moment."""
    for listener in listeners:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)


@asynccontextmanager
async def speaking(handle: Conversation, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """A server that says on each connection whatever `handle` writes; its address."""
    under_way: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            under_way.discard(task)

    server = await asyncio.start_server(converse, host, port, limit=STREAM_BYTES_MAX)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await stop_accepting(*server.sockets)
        server.close()
        for task in list(under_way):
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)


def saying(*parts: bytes, pause_seconds: float = 0.0) -> Conversation:
    """Reads one request and says these parts, one after another; then closes the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return handle


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    assert len(lengths) == 1, head
    return head, await reader.readexactly(int(lengths[0].partition(b":")[2]))


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does: with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Authority:
    """A certificate authority that nobody knows, with its certificate in a file."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("An authority of these tests")
        self.certificate = (
            self._builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(OF_AUTHORITIES, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def server(self, *hosts: str, **more: Any) -> ssl.SSLContext:
        """A server's side of TLS with a certificate as `issue` makes it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(*hosts, **more))
        return context

    def issue(
        self,
        *hosts: str,
        valid_hours: float = 1,
        valid_in_hours: float = -48,
        own: bool = False,
        with_issuer: bool = False,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Path:
        """A file with a key and its certificate for these names and addresses.

        `own`: issued by itself; `with_issuer`: the certificate of the authority is sent, too; `usage`: what it is for and nothing else.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(hosts[0])
        issuer, signer = (subject, key) if own else (self._name, self._key)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            self._builder(subject, issuer, key.public_key(), valid_hours, valid_in_hours)
            .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
            .add_extension(authority, critical=False)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        file = self._folder / f"server-{certificate.serial_number}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = [certificate, self.certificate] if with_issuer else [certificate]
        file.write_bytes(private + b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        return file

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        valid_hours: float = 1,
        valid_in_hours: float = -48,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(hours=valid_in_hours))
            .not_valid_after(now + timedelta(hours=valid_hours))
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
