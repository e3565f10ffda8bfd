"""Makes connections: name → checked address → TCP → TLS under the name that the URL has, each step under its own deadline."""

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
from webhooks.http_client.rules import Destination, Network

# A name may have more; those that are not tried now may come first another time.
ADDRESSES_TRIED_MAX = 4
TLS_SHUTDOWN_SECONDS = 1.0
FILES_WAIT_SECONDS = 0.05
_NO_FILES = (errno.EMFILE, errno.ENFILE)


class Phases:
    """Seconds that the steps of making one connection took, so far; None for one that was not needed."""

    __slots__ = ("_began", "_now", "connect", "dns", "tls")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self._now: Literal["dns", "connect", "tls"] | None = None
        self._began = 0.0

    def enter(self, phase: Literal["dns", "connect", "tls"]) -> None:
        """The former step is over."""
        self.leave()
        self._now, self._began = phase, time.monotonic()

    def leave(self) -> None:
        """No step is under way any more."""
        if self._now is not None:
            taken = getattr(self, self._now) or 0.0
            setattr(self, self._now, taken + time.monotonic() - self._began)
            self._now = None


class Connector:
    """Makes connections to where webhooks may go, and nowhere else.

    `closed` hears of each connection that has ended; `no_files` is to free some when this process has none left for a connection.
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
        """The addresses of a destination, as far as they are known without asking (`now` on `time.monotonic`)."""
        if destination.is_address:
            return (destination.host,)
        return self._dns_cache.known(destination.host, now)

    async def resolve(self, destination: Destination, phases: Phases) -> tuple[str, ...]:
        """The addresses of a destination. Raises `NoConnection`, `TimeoutError`."""
        known = self.known(destination, time.monotonic())
        if known:
            return known
        phases.enter("dns")
        found = await self._dns_cache.resolve(destination.host)
        phases.leave()
        return found

    async def connect(self, destination: Destination, found: Sequence[str], phases: Phases) -> Connection:
        """A new connection to one of these addresses. Raises `NoConnection`, `TimeoutError`."""
        deadline = time.monotonic() + self._connect_timeout_seconds
        failed: Exception = NotConnected("connect", "no address")
        tried = found[:ADDRESSES_TRIED_MAX]
        for position, address in enumerate(tried):
            # What is left is shared by the addresses that are left: one that swallows packets does not cost the others their turn.
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
            # `SSLError` is an `OSError`, like a connection that ends in the middle of the handshake.
            connected.close()
            raise NotConnected("tls", str(error)) from error
        phases.leave()
        return connection

    async def _socket(self, address: str, port: int) -> socket.socket:
        try:
            return await connected_socket(address, port, self._allowed)
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
        # Our own shortage is not the receiver's failure: idle connections are given up for it.
        self._no_files()
        await asyncio.sleep(FILES_WAIT_SECONDS)
        return await connected_socket(address, port, self._allowed)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """What the system trusts, and the authorities in `ca_file` besides."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
