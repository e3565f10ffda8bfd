"""Passwords: argon2id hashes computed in threads, a bounded number at once; and rate limits on wrong passwords."""

import asyncio
import math
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from cachetools import TTLCache
from pydantic import SecretStr

from shared.errors import TooManyRequests, Unavailable

CODE_ATTEMPTS = 10.0
CODE_ATTEMPTS_PER_MINUTE = 0.5
"""Wrong codes of one person. A guess is right three times in a million: 720 a day are one in 460."""
BUDGETS_MAX = 100_000
"""Accounts, and addresses, whose wrong passwords one process counts; beyond, it forgets the least recently charged."""
NORMALIZED = "#nfc"
"""Ends the hash of a password that was brought into Unicode's form NFC, since keyboards differ, and has its blanks (NIST SP 800-63B).
Other hashes are older: of passwords as they were typed, without the blanks around them."""
ResultT = TypeVar("ResultT")


class Passwords:
    """Computes and checks password hashes. A hash takes much memory and time: `at_once` run, `waiting_max` more may wait."""

    def __init__(self, *, memory_kib: int, time_cost: int, parallelism: int, at_once: int, waiting_max: int):
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._slots = asyncio.Semaphore(at_once)
        self._requested = 0
        self._requested_max = at_once + waiting_max
        # Checked where there is no account, so that the answer takes the same time.
        self._dummy_hash = self._hasher.hash("nobody has this password") + NORMALIZED

    async def hash(self, password: SecretStr) -> str:
        """The hash to store. Raises `Unavailable` when too many hashes are waiting."""
        return await self._in_slot(lambda: self._hasher.hash(_normalized(password)) + NORMALIZED)

    async def verify(self, stored_hash: str | None, password: SecretStr) -> bool:
        """Whether the hash is of this password. Without a hash it is False, after the same time. Raises `Unavailable`."""
        return (
            await self._in_slot(lambda: self._matches(stored_hash or self._dummy_hash, password))
            and stored_hash is not None
        )

    def is_outdated(self, stored_hash: str, password: SecretStr) -> bool:
        """Whether a hash, which is of this password, was computed in another way than this object does."""
        if stored_hash.endswith(NORMALIZED):
            return self._hasher.check_needs_rehash(stored_hash.removesuffix(NORMALIZED))
        # An older hash takes the password with and without blanks around it: typed with them, nobody knows which was meant.
        return password.get_secret_value() == password.get_secret_value().strip()

    def _matches(self, stored_hash: str, password: SecretStr) -> bool:
        with suppress(Argon2Error, InvalidHashError):
            if stored_hash.endswith(NORMALIZED):
                return self._hasher.verify(stored_hash.removesuffix(NORMALIZED), _normalized(password))
            return self._hasher.verify(stored_hash, password.get_secret_value().strip())
        return False

    async def _in_slot(self, work: Callable[[], ResultT]) -> ResultT:
        if self._requested >= self._requested_max:
            raise Unavailable("too many passwords are being checked", code="overloaded")
        self._requested += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._requested -= 1


def _normalized(password: SecretStr) -> str:
    return unicodedata.normalize("NFC", password.get_secret_value())


class Attempts:
    """Limits wrong passwords; each budget refills steadily. Every replica counts for itself.

    An attempt is charged when it begins, so that concurrent attempts count too, and refunded when it succeeds. Log-ins to an account
    have a small budget for each address and a larger one for all addresses. A session has its own: no stranger can use it up.
    """

    def __init__(self, *, account_per_minute: float, account_total_per_minute: float, address_per_minute: float):
        self._account_at_address = _Budget(account_per_minute)
        self._account = _Budget(max(account_per_minute, account_total_per_minute))
        self._address = _Budget(address_per_minute)
        self._session = _Budget(account_per_minute)
        self._code = _Budget(CODE_ATTEMPTS_PER_MINUTE, size=CODE_ATTEMPTS)
        self._reset = _Budget(address_per_minute)
        self._recorded = _Budget(account_per_minute)

    def begin_log_in(self, *, account: str, address: str) -> "Attempt":
        """Charge a log-in to an account from an address. Raises `TooManyRequests`."""
        at_address = f"{account}\n{address}"
        return _begin([(self._address, address), (self._account, account), (self._account_at_address, at_address)])

    def begin_reauthentication(self, *, session_id: str) -> "Attempt":
        """Charge a password that is asked for again in a session. Raises `TooManyRequests`."""
        return _begin([(self._session, session_id)])

    def begin_code(self, *, subject_id: str) -> "Attempt":
        """Charge a code of a second factor, from whatever address: only who has the password can use this up. Raises `TooManyRequests`."""
        return _begin([(self._code, subject_id)], "too many wrong codes: wait and try again")

    def begin_token(self, *, address: str) -> "Attempt":
        """Charge a token from a mail that is presented from an address. Raises `TooManyRequests`."""
        return _begin([(self._address, address)])

    def begin_reset(self, *, address: str) -> "Attempt":
        """Charge a request for a password reset to its address alone: no account runs dry by it. Raises `TooManyRequests`."""
        return _begin([(self._reset, address)], "too many password resets were asked for: wait and try again")

    def may_record(self, name: str) -> bool:
        """Whether another refused log-in of this account or tenant may be recorded: no more than an account has attempts."""
        if self._recorded.wait_seconds(name) > 0:
            return False
        self._recorded.charge(name, 1)
        return True


class Attempt:
    """An attempt that was charged."""

    def __init__(self, charged: list[tuple["_Budget", str]]):
        self._charged = charged

    def succeeded(self) -> None:
        """Refund the attempt: only wrong passwords count."""
        for budget, name in self._charged:
            budget.charge(name, -1)


def _begin(
    charged: list[tuple["_Budget", str]], refusal: str = "too many wrong passwords: wait and try again"
) -> "Attempt":
    wait_seconds = max(budget.wait_seconds(name) for budget, name in charged)
    if wait_seconds > 0:
        raise TooManyRequests(
            refusal,
            code="too_many_attempts",
            headers={"Retry-After": str(wait_seconds)},
            retry_after_seconds=wait_seconds,
        )
    for budget, name in charged:
        budget.charge(name, 1)
    return Attempt(charged)


class _Budget:
    """Token buckets, one per name."""

    def __init__(self, per_minute: float, size: float | None = None):
        self._size = max(per_minute, 1.0) if size is None else size
        self._per_second = per_minute / 60
        # After the time of a full refill without a charge a name has a full budget again and can be dropped.
        self._charges: TTLCache[str, tuple[float, float]] = TTLCache(
            BUDGETS_MAX, max(self._size / self._per_second, 1.0)
        )

    def wait_seconds(self, name: str) -> int:
        """Whole seconds until the budget allows another attempt; 0: now."""
        excess = self._charged(name) + 1 - self._size
        return math.ceil(excess / self._per_second) if excess > 1e-9 else 0

    def charge(self, name: str, count: int) -> None:
        self._charges[name] = (max(0.0, self._charged(name) + count), time.monotonic())

    def _charged(self, name: str) -> float:
        now = time.monotonic()
        charged, updated = self._charges.get(name, (0.0, now))
        return max(0.0, charged - (now - updated) * self._per_second)
