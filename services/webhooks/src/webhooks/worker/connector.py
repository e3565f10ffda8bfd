"""The one way out: every connection of a delivery passes here with the exact address that it is about to be made to.

A check of the URL would not do: names resolve to private addresses, may resolve differently the next time, and addresses have more
spellings than a parser knows. Here the address is what the operating system will be given.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType
from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from webhooks.domain import addresses
from webhooks.domain.addresses import Network

DNS_THREADS = 32
DNS_KEPT_SECONDS = 30
ADDRESSES_PER_NAME_MAX = 16
# Shorter than what common servers grant an idle connection: one that the receiver is about to close is not used again.
KEEP_ALIVE_SECONDS = 4.0


class AddressBlocked(Exception):
    """The address is not one that webhooks may go to. No `OSError`, so that no library tries the next address."""


def guarded_connector(allowed: Sequence[Network], resolver: AbstractResolver | None = None) -> TCPConnector:
    """A connector that opens connections to public unicast addresses and `allowed` networks only. How many is the caller's bound."""

    def make_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = address
        check(str(target[0]), int(target[1]), allowed)
        return socket.socket(family=family, type=kind, proto=protocol)

    return TCPConnector(
        limit=0,
        limit_per_host=0,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        ttl_dns_cache=DNS_KEPT_SECONDS,
        happy_eyeballs_delay=None,
        resolver=GuardedResolver(resolver or ThreadResolver(), allowed),
        socket_factory=make_socket,
    )


def check(host: str, port: int, allowed: Sequence[Network]) -> None:
    """Raises `AddressBlocked` unless this numeric address may be connected to."""
    try:
        address = ip_address(host)
    except ValueError as error:
        raise AddressBlocked(f"{host} is not a plain address") from error
    if not addresses.may_connect(address, port, allowed):
        raise AddressBlocked(f"{host} port {port} is not open to webhooks")


class GuardedResolver(AbstractResolver):
    """Refuses a name when any of its addresses is refused: a mixture is how names are rebound."""

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network]):
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if addresses.is_local_name(host) and not any(network.is_loopback for network in self._allowed):
            raise AddressBlocked(f"{host} is this machine")
        found = (await self._resolver.resolve(host, port, family))[:ADDRESSES_PER_NAME_MAX]
        for entry in found:
            check(entry["host"], port, self._allowed)
        return found

    async def close(self) -> None:
        await self._resolver.close()


class ThreadResolver(AbstractResolver):
    """The operating system's resolver in threads of its own: names that are slow to resolve delay only each other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(DNS_THREADS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        return [
            ResolveResult(
                hostname=host, host=str(target[0]), port=port, family=family, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for family, _, proto, _, target in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(
    host: str, port: int, family: socket.AddressFamily
) -> list[tuple[socket.AddressFamily, int, int, str, tuple[str | int, ...]]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)  # type: ignore[return-value]
