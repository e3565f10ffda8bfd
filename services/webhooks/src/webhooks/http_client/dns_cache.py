"""A DNS cache: one look-up at a time for each name, kept for `KEPT_SECONDS`, refreshed before that.

Addresses are used for `KEPT_SECONDS` and no longer, so idle connections to a former address are dropped with them. A look-up occupies one
thread. A name whose look-up was slow uses a separate small pool from then on, so that it delays no other name.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from webhooks.http_client import rules
from webhooks.http_client.egress_guard import NotConnected, check_address
from webhooks.http_client.rules import Network

KEPT_SECONDS = 30.0
REFRESH_SECONDS = 20.0
FAILURE_KEPT_SECONDS = 2.0
NAMES_MAX = 10_000
ADDRESSES_PER_NAME_MAX = 64
THREADS = 48
SLOW_THREADS = 8
SLOW_SECONDS = 1.0

LookUp = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name as text. Raises `OSError` if there are none."""


class _CachedName:
    """The state of one name."""

    __slots__ = ("addresses", "failed_until", "fresh_until", "known_until", "looking_up", "refusal", "slow")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.known_until = self.fresh_until = self.failed_until = 0.0
        self.refusal: NotConnected | None = None
        self.looking_up: asyncio.Task[None] | None = None
        self.slow = False


class DnsCache:
    """Resolves names. A name is refused if any of its addresses is: DNS rebinding mixes allowed and forbidden ones."""

    def __init__(self, allowed: Sequence[Network], *, timeout_seconds: float, look_up: LookUp | None = None):
        self._allowed = allowed
        self._timeout_seconds = timeout_seconds
        self._look_up = look_up
        self._names: dict[str, _CachedName] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dns")
        self._slow_threads = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="dns-slow")

    def known(self, host: str, now: float) -> tuple[str, ...]:
        """The cached addresses of a name; none if it must be looked up (`now` on `time.monotonic`)."""
        name = self._names.get(host)
        if name is None or now >= name.known_until:
            return ()
        if now >= name.fresh_until and name.looking_up is None:
            self._begin(host, name)
        return name.addresses

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of a name, in order of preference. Raises `NotConnected`, or `TimeoutError` after `timeout_seconds`."""
        if rules.is_local_name(host) and not any(network.is_loopback for network in self._allowed):
            raise NotConnected("blocked", f"{host} is this machine")
        now = time.monotonic()
        known = self.known(host, now)
        if known:
            return known
        name = self._name(host)
        if name.refusal is None or now >= name.failed_until:
            looking_up = name.looking_up or self._begin(host, name)
            async with asyncio.timeout(self._timeout_seconds):
                # Shielded, because others may wait for the same look-up.
                await asyncio.shield(looking_up)
        if name.refusal is not None:
            raise NotConnected(name.refusal.cause, str(name.refusal))
        return name.addresses

    def close(self) -> None:
        """Stop all look-ups; threads that wait for a name server end by themselves."""
        for name in self._names.values():
            if name.looking_up is not None:
                name.looking_up.cancel()
        for threads in (self._threads, self._slow_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _name(self, host: str) -> _CachedName:
        name = self._names.get(host)
        if name is None:
            if len(self._names) >= NAMES_MAX:
                self._drop_oldest()
            name = self._names[host] = _CachedName()
        return name

    def _drop_oldest(self) -> None:
        for host, name in self._names.items():
            if name.looking_up is None:
                del self._names[host]
                return

    def _begin(self, host: str, name: _CachedName) -> asyncio.Task[None]:
        name.looking_up = asyncio.create_task(self._refresh(host, name), name="dns")
        return name.looking_up

    async def _refresh(self, host: str, name: _CachedName) -> None:
        """Look the name up and store the result. Raises nothing but a cancellation."""
        began = time.monotonic()
        try:
            found = await self._found(host, slow=name.slow)
            for address in found:
                check_address(address, self._allowed)
            name.addresses, name.refusal = found, None
        except NotConnected as refusal:
            name.refusal = refusal
        except (OSError, UnicodeError) as error:
            name.refusal = NotConnected("dns", str(error))
        finally:
            name.looking_up = None
        now = time.monotonic()
        name.slow = now - began > SLOW_SECONDS
        if name.refusal is None:
            name.known_until, name.fresh_until = now + KEPT_SECONDS, now + REFRESH_SECONDS
            return
        name.failed_until = now + FAILURE_KEPT_SECONDS
        if name.refusal.cause == "blocked":
            # The name has a forbidden address now: the cached ones are dropped.
            name.known_until = 0.0
        else:
            name.fresh_until = name.failed_until

    async def _found(self, host: str, *, slow: bool) -> tuple[str, ...]:
        if self._look_up is not None:
            found = await self._look_up(host)
        else:
            threads = self._slow_threads if slow else self._threads
            found = await asyncio.get_running_loop().run_in_executor(threads, _resolve_by_system, host)
        if not found:
            raise OSError("the name has no address")
        if len(found) > ADDRESSES_PER_NAME_MAX:
            raise NotConnected("blocked", f"{host} has more than {ADDRESSES_PER_NAME_MAX} addresses")
        return tuple(dict.fromkeys(found))


def _resolve_by_system(host: str) -> list[str]:
    # As bytes, so that exactly this form of the name is looked up.
    answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return [str(target[0]) for _, _, _, _, target in answers]
