"""TLS to PostgreSQL: the URL says it, and every connection of a service keeps to it: the pool's, the driver's own, a migration's.

The PostgreSQL of these tests is built without TLS, so a front of it offers that and passes on what is said inside.
"""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.crypto import certificates
from shared.postgres.database import Database
from shared.postgres.driver_connection import connect
from shared.postgres.migrations import migrate
from tests.harness.stack import BackingStack, migrated

SSL_REQUEST = struct.pack(">ii", 8, 80877103)
BYTES_AT_ONCE = 65536
HOSTS = {"right": ["127.0.0.1", "localhost"], "other": ["db.example.com"]}


class Front:
    """What speaks TLS before PostgreSQL. `conversations` counts those in which both sides agreed on it."""

    def __init__(self, behind: str, context: ssl.SSLContext) -> None:
        self._behind = urlsplit(behind)
        self._context = context
        self.conversations = 0
        self.port = 0

    def url(self, **options: str | Path) -> str:
        address = f"{self._behind.netloc.rpartition('@')[0]}@127.0.0.1:{self.port}"
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{address}{self._behind.path}?{query}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(self._context)
            self.conversations += 1
            from_there, there = await asyncio.open_connection(self._behind.hostname, self._behind.port)
            await asyncio.gather(copy(reader, there), copy(from_there, writer))
        except (OSError, EOFError):
            pass  # refused by the client, or closed in the middle
        finally:
            writer.close()
            if there is not None:
                there.close()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while said := await source.read(BYTES_AT_ONCE):
        target.write(said)
        await target.drain()
    target.close()


@asynccontextmanager
async def front(behind: str, folder: Path, server: str = "right") -> AsyncIterator[Front]:
    """A front with a certificate for this server, by the authority of this folder."""
    certificates.ensure(folder, HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / server / certificates.SERVER_FILE)
    made = Front(behind, context)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()


async def by_pool(url: str) -> None:
    database = Database(url, application_name="tests")
    try:
        await database.ping()
    finally:
        await database.close()


async def by_driver(url: str) -> None:
    """As the relay, webhooks' delivery path and LISTEN connect."""
    database = Database(url, application_name="tests")
    try:
        await (await connect(database, "tests")).close()
    finally:
        await database.close()


async def by_migration(url: str) -> None:
    await asyncio.to_thread(migrate, "billing", url)


Way = Callable[[str], Awaitable[None]]
WAYS = pytest.mark.parametrize("way", [by_pool, by_driver, by_migration])


@pytest.fixture(scope="module")
def behind(backing: BackingStack) -> str:
    return migrated(backing, "billing")


@WAYS
async def test_whoever_verifies_the_server_reaches_it_by_tls(way: Way, behind: str, tmp_path: Path) -> None:
    async with front(behind, tmp_path) as server:
        await way(server.url(sslmode="verify-full", sslrootcert=tmp_path / certificates.CA_FILE))

        assert server.conversations == 1


@WAYS
@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_server_that_cannot_prove_who_it_is_is_refused(
    way: Way, wrong: str, behind: str, tmp_path: Path
) -> None:
    trusted = tmp_path / ("elsewhere" if wrong == "authority" else "here")
    certificates.ensure(trusted, HOSTS)
    async with front(behind, tmp_path / "here", "other" if wrong == "name" else "right") as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await way(server.url(sslmode="verify-full", sslrootcert=trusted / certificates.CA_FILE))


@WAYS
async def test_a_server_without_tls_is_not_spoken_to(way: Way, behind: str, tmp_path: Path) -> None:
    certificates.ensure(tmp_path, HOSTS)
    plain = partial("{}?sslmode=verify-full&sslrootcert={}".format, behind)

    with pytest.raises(ConnectionError, match="SSL"):
        await way(plain(tmp_path / certificates.CA_FILE))


def test_certificates_that_last_are_left_alone(tmp_path: Path) -> None:
    assert certificates.ensure(tmp_path, HOSTS)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.pem")}

    assert not certificates.ensure(tmp_path, HOSTS)

    assert {file: file.read_bytes() for file in tmp_path.rglob("*.pem")} == before
    assert {file.stat().st_mode & 0o777 for file in before if file.name == certificates.SERVER_FILE} == {0o600}
    (tmp_path / "right" / certificates.SERVER_FILE).unlink()
    assert certificates.main([str(tmp_path), "right=127.0.0.1", "other=db.example.com"]) == 0
    assert not set(before.values()) & {file.read_bytes() for file in tmp_path.rglob("*.pem")}
