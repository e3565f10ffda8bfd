"""Passwords: argon2id in threads, a bounded number at once, and a brake on guessing that never locks anybody out for good."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from cachetools import TTLCache
from pydantic import SecretStr

from shared.errors import TooManyRequests, Unavailable

WATCHED_MAX = 100_000
ResultT = TypeVar("ResultT")


class Passwords:
    """Makes and checks password hashes. One hash costs much memory and time, so only so many run, and only so many wait."""

    def __init__(self, *, memory_kib: int, time_cost: int, parallelism: int, at_once: int, waiting_max: int):
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._turn = asyncio.Semaphore(at_once)
        self._busy = 0
        self._busy_max = at_once + waiting_max
        # What a password is compared with where there is no account, so that its absence takes the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: SecretStr) -> str:
        """The hash to keep. Raises `Unavailable` when too many are waiting."""
        return await self._in_turn(lambda: self._hasher.hash(password.get_secret_value()))

    async def verify(self, kept_hash: str | None, password: SecretStr) -> bool:
        """Whether this is the password; False, after the same time, where none is kept. Raises `Unavailable`."""
        return await self._in_turn(lambda: self._matches(kept_hash or self._nobody, password)) and kept_hash is not None

    def is_outdated(self, kept_hash: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept_hash)

    def _matches(self, kept_hash: str, password: SecretStr) -> bool:
        with suppress(Argon2Error, InvalidHashError):
            return self._hasher.verify(kept_hash, password.get_secret_value())
        return False

    async def _in_turn(self, work: Callable[[], ResultT]) -> ResultT:
        if self._busy >= self._busy_max:
            raise Unavailable("too many passwords are being checked", code="overloaded")
        self._busy += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._busy -= 1


class Attempts:
    """Counts wrong passwords per account and per address; each budget refills steadily. Every replica counts for itself.

    An attempt is charged when it begins, so that many at once cannot slip through, and given back when it succeeds.
    """

    def __init__(self, *, account_per_minute: float, address_per_minute: float):
        self._account = _Budget(account_per_minute)
        self._address = _Budget(address_per_minute)

    def begin(self, *, account: str | None, address: str) -> "Attempt":
        """Charge one attempt. Raises `TooManyRequests` for an account or address that has used up its budget."""
        charged = [(self._address, address), *([(self._account, account)] if account is not None else [])]
        wait_seconds = max(budget.wait_seconds(name) for budget, name in charged)
        if wait_seconds > 0:
            raise TooManyRequests(
                "too many wrong passwords: wait and try again",
                code="too_many_attempts",
                headers={"Retry-After": str(wait_seconds)},
                retry_after_seconds=wait_seconds,
            )
        for budget, name in charged:
            budget.charge(name, 1)
        return Attempt(charged)


class Attempt:
    """One try that has been charged."""

    def __init__(self, charged: list[tuple["_Budget", str]]):
        self._charged = charged

    def succeeded(self) -> None:
        """Give it back: only failures count."""
        for budget, name in self._charged:
            budget.charge(name, -1)


class _Budget:
    def __init__(self, per_minute: float):
        self._size = max(per_minute, 1.0)
        self._per_second = per_minute / 60
        # A name that has not been charged for as long as a full refill takes has nothing left to remember.
        self._charges: TTLCache[str, tuple[float, float]] = TTLCache(
            WATCHED_MAX, max(self._size / self._per_second, 1.0)
        )

    def wait_seconds(self, name: str) -> int:
        """Whole seconds until another attempt fits; 0: now."""
        excess = self._charged(name) + 1 - self._size
        return math.ceil(excess / self._per_second) if excess > 1e-9 else 0

    def charge(self, name: str, count: int) -> None:
        self._charges[name] = (max(0.0, self._charged(name) + count), time.monotonic())

    def _charged(self, name: str) -> float:
        now = time.monotonic()
        charged, updated = self._charges.get(name, (0.0, now))
        return max(0.0, charged - (now - updated) * self._per_second)
