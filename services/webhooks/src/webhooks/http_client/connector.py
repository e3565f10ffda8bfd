"""Makes connections: DNS, check of the address, TCP, TLS with the host name of the URL. Each step has its own deadline."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from webhooks.http_client.connection import Connection
from webhooks.http_client.dns_cache import DnsCache, LookUp
from webhooks.http_client.egress_guard import NotConnected, connected_socket
from webhooks.http_client.responses import CauseDetail
from webhooks.http_client.rules import Destination, Network

# A name may have more addresses; the others may come first another time.
ADDRESSES_TRIED_MAX = 4
TLS_SHUTDOWN_SECONDS = 1.0
FILES_WAIT_SECONDS = 0.05
_NO_FILES = (errno.EMFILE, errno.ENFILE)
# What OpenSSL says of a handshake that failed. Its texts differ between versions; its codes and reasons do not.
_TLS_FAILURES_BY_CODE: dict[int, CauseDetail] = {
    9: "certificate_not_yet_valid",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "certificate_expired",  # X509_V_ERR_CERT_HAS_EXPIRED
    18: "self_signed",  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    19: "unknown_issuer",  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: the issuer comes with it, and is none that we trust
    20: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    2: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
    62: "name_mismatch",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "name_mismatch",  # X509_V_ERR_IP_ADDRESS_MISMATCH
}
_TLS_FAILURES_BY_REASON: dict[str, CauseDetail] = {
    "WRONG_VERSION_NUMBER": "no_tls",
    "HTTP_REQUEST": "no_tls",
    "RECORD_LAYER_FAILURE": "no_tls",
    "UNSUPPORTED_PROTOCOL": "no_common_version",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no_common_version",
}


class Phases:
    """Seconds that the phases of making one connection have taken so far; None for a phase that was not needed."""

    __slots__ = ("_began", "_now", "connect", "dns", "tls")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self._now: Literal["dns", "connect", "tls"] | None = None
        self._began = 0.0

    def enter(self, phase: Literal["dns", "connect", "tls"]) -> None:
        """End the former phase and begin this one."""
        self.leave()
        self._now, self._began = phase, time.monotonic()

    def leave(self) -> None:
        """End the present phase."""
        if self._now is not None:
            taken = getattr(self, self._now) or 0.0
            setattr(self, self._now, taken + time.monotonic() - self._began)
            self._now = None


class Connector:
    """Makes connections to allowed addresses and no others.

    `closed` is called with each connection that has ended. `no_files` is called when the process has no free file descriptor; it has to
    free some.
    """

    def __init__(
        self,
        *,
        allowed_networks: Sequence[Network],
        connect_timeout_seconds: float,
        dns_timeout_seconds: float,
        ca_file: Path | None,
        look_up: LookUp | None,
        closed: Callable[[Connection], None],
        no_files: Callable[[], None],
    ):
        self._allowed = tuple(allowed_networks)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._dns_cache = DnsCache(self._allowed, timeout_seconds=dns_timeout_seconds, look_up=look_up)
        self._tls = _tls_context(ca_file)
        self._closed = closed
        self._no_files = no_files

    def known(self, destination: Destination, now: float) -> tuple[str, ...]:
        """The addresses of a destination if they are known without a look-up, else none (`now` on `time.monotonic`)."""
        if destination.is_address:
            return (destination.host,)
        return self._dns_cache.known(destination.host, now)

    async def resolve(self, destination: Destination, phases: Phases) -> tuple[str, ...]:
        """The addresses of a destination. Raises `NotConnected`, `TimeoutError`."""
        known = self.known(destination, time.monotonic())
        if known:
            return known
        phases.enter("dns")
        found = await self._dns_cache.resolve(destination.host)
        phases.leave()
        return found

    async def connect(self, destination: Destination, found: Sequence[str], phases: Phases) -> Connection:
        """A new connection to one of these addresses. Raises `NotConnected`, `TimeoutError`."""
        deadline = time.monotonic() + self._connect_timeout_seconds
        failed: Exception = NotConnected("connect", "no address")
        tried = found[:ADDRESSES_TRIED_MAX]
        for position, address in enumerate(tried):
            # The remaining time is divided among the remaining addresses, so that one that does not respond leaves time for the others.
            share_seconds = (deadline - time.monotonic()) / (len(tried) - position)
            try:
                async with asyncio.timeout(share_seconds):
                    return await self._connected(destination, address, phases)
            except (TimeoutError, NotConnected) as error:
                failed = error
                if isinstance(error, NotConnected) and error.cause == "blocked":
                    raise
        raise failed

    def close(self) -> None:
        """Make no more connections."""
        self._dns_cache.close()

    async def _connected(self, destination: Destination, address: str, phases: Phases) -> Connection:
        loop = asyncio.get_running_loop()
        phases.enter("connect")
        try:
            connected = await self._socket(address, destination.port)
        except OSError as error:
            raise NotConnected("connect", str(error)) from error
        phases.leave()
        connection = Connection(address, self._closed)
        if destination.scheme == "http":
            await loop.create_connection(lambda: connection, sock=connected)
            return connection
        phases.enter("tls")
        try:
            await loop.create_connection(
                lambda: connection,
                sock=connected,
                ssl=self._tls,
                server_hostname=destination.host.rstrip("."),
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
            )
        except (OSError, ValueError) as error:
            # `SSLError` is an `OSError`, and so is a connection that ends during the handshake.
            connected.close()
            raise NotConnected("tls", str(error), _tls_failure(error)) from error
        phases.leave()
        return connection

    async def _socket(self, address: str, port: int) -> socket.socket:
        try:
            return await connected_socket(address, port, self._allowed)
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
        # A lack of file descriptors here is no failure of the receiver: idle connections are closed to get one.
        self._no_files()
        await asyncio.sleep(FILES_WAIT_SECONDS)
        return await connected_socket(address, port, self._allowed)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities of the system and those in `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _tls_failure(error: Exception) -> CauseDetail:
    """The word for what ended the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _TLS_FAILURES_BY_CODE.get(error.verify_code, "certificate_refused")
    if isinstance(error, ssl.SSLError):
        return _TLS_FAILURES_BY_REASON.get(error.reason or "", "handshake_failed")
    return "handshake_failed"
