"""Begins, finds, renews and ends the sessions of browsers.

Identity ends a session whose refresh token it sees twice. So a token is renewed under a lock on the session's row, with one call: two
tabs that come at once are one. That a call is about to be made is committed before it is made; where its outcome is not known, it is
never made again, and the person signs in anew.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from console.gateway import Answer, Away, Forbidden, Gateway, Origin, Problem, TooMany
from console.sessions import rules
from console.sessions.tables import BrowserSessionRow, RefreshRow
from shared.crypto.encryptor import DecryptionFailed, Encryptor
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

COOKIE_BYTES = 32
PLATFORM = "platform"
"""What identity calls the principal of a platform key."""
OPERATOR = {"kind": PLATFORM, "name": "Waybill", "tenant_id": None}
"""Who has a platform key: nobody knows the name."""
PURGED_AT_ONCE = 1000
PURGE_SECONDS = 300.0
SEALED_LIFE = timedelta(minutes=5)


class SessionEnded(Exception):
    """There is no such session (any more): the person has to sign in."""


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A session that is in force: its cookie, whose it is, and a token that lasts for this page."""

    cookie: str
    person: Mapping[str, Any]
    token: str
    expires_at: datetime
    stepped_up_until: datetime | None

    @property
    def is_operator(self) -> bool:
        """Whether it is that of a platform key, which the token then is."""
        return self.person.get("kind") == PLATFORM

    @property
    def form_token(self) -> str:
        return rules.form_token(self.cookie)

    def is_stepped_up(self, now: datetime) -> bool:
        """Whether the password was given again a short while ago."""
        return self.stepped_up_until is not None and now < self.stepped_up_until


class Sessions:
    """The sessions of this console."""

    def __init__(
        self,
        database: Database,
        gateway: Gateway,
        encryptor: Encryptor,
        *,
        life: timedelta,
        idle: timedelta,
        renewals_at_once: int,
    ):
        self._database = database
        self._gateway = gateway
        self._encryptor = encryptor
        self._life = life
        self._idle = idle
        # A renewal has two connections: one with the lock, one for what is committed meanwhile.
        self._renewing = asyncio.Semaphore(renewals_at_once)

    async def begin(self, issued: Answer, *, replaces: str | None = None) -> str:
        """A session for what `POST /v1/sessions` answered; the cookie to set. One that the browser had before ends here."""
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        now = datetime.now(UTC)
        ends = [now + self._life, datetime.fromisoformat(issued["refresh_expires_at"])]
        row = BrowserSessionRow(
            digest=rules.digest_of(cookie),
            person={},
            token=b"",
            token_expires_at=now,
            refresh_token=b"",
            created_at=now,
            last_seen_at=now,
            expires_at=min(ends),
            stepped_up_until=None,
        )
        self._store(row, issued)
        async with self._database.transaction() as session:
            if replaces:
                await session.execute(_row_of(rules.digest_of(replaces)))
            session.add(row)
        return cookie

    async def begin_operation(self, key: str, origin: Origin, *, replaces: str | None = None) -> str:
        """A session of an operator, who gave this platform key; the cookie to set. Raises `Problem` where it is none."""
        found = await self._gateway.call("identity", "GET", "/v1/auth/test", origin=origin, headers={"X-Api-Key": key})
        if found["principal"] != PLATFORM:
            raise Forbidden(service="identity", status=403, code="forbidden")
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        digest, now = rules.digest_of(cookie), datetime.now(UTC)
        expires_at = now + rules.OPERATION_LIFE
        row = BrowserSessionRow(
            digest=digest,
            person={**OPERATOR, "id": rules.hint_of(key), "email": rules.hint_of(key), "livemode": found["livemode"]},
            token=self._encrypt(digest, "token", key),
            # A key is not renewed: the session ends before it would be.
            token_expires_at=expires_at + rules.OPERATION_LIFE,
            refresh_token=b"",
            created_at=now,
            last_seen_at=now,
            expires_at=expires_at,
            stepped_up_until=None,
        )
        async with self._database.transaction() as session:
            if replaces:
                await session.execute(_row_of(rules.digest_of(replaces)))
            session.add(row)
        return cookie

    async def act_in(self, cookie: str, tenant_id: str | None) -> None:
        """Let an operator act in a tenant from now on, or in none."""
        async with self._database.transaction() as session:
            row = await self._lock(session, rules.digest_of(cookie))
            row.person = {**row.person, "tenant_id": tenant_id}

    async def find(self, cookie: str, origin: Origin, *, is_seen: bool) -> BrowserSession:
        """The session of a cookie, with a token that is good for this page; it is seen where the person did something.

        Raises `SessionEnded`, and `Away` where identity is.
        """
        digest = rules.digest_of(cookie)
        now = datetime.now(UTC)
        async with self._database.reading() as session:
            row = (await session.execute(_found(digest))).scalar_one_or_none()
        self._require(row, now)
        assert row is not None
        if rules.has_to_renew(row.token_expires_at, now):
            async with self._renewing:
                row = await self._renew(digest, origin)
        if is_seen and now - row.last_seen_at > rules.SEEN_EVERY:
            async with self._database.transaction() as session:
                seen = (await session.execute(_found(digest).with_for_update())).scalar_one_or_none()
                if seen is not None:
                    seen.last_seen_at = now
        return self._opened(cookie, row)

    async def replace(self, cookie: str, issued: Answer) -> None:
        """Go on with what a change of password answered: identity has ended the tokens of before."""
        async with self._database.transaction() as session:
            row = await self._lock(session, rules.digest_of(cookie))
            self._store(row, issued)

    async def step_up(self, cookie: str, issued: Answer) -> None:
        """Go on with what `POST /v1/auth/step-up` answered."""
        async with self._database.transaction() as session:
            row = await self._lock(session, rules.digest_of(cookie))
            row.token = self._encrypt(row.digest, "token", issued["token"])
            row.token_expires_at = datetime.fromisoformat(issued["expires_at"])
            row.stepped_up_until = datetime.fromisoformat(issued["stepped_up_until"])

    async def renew(self, cookie: str, refused: str, origin: Origin) -> str:
        """A token in place of one that a service has refused. Raises `SessionEnded`, and `Away` where identity is."""
        async with self._renewing:
            row = await self._renew(rules.digest_of(cookie), origin, refused=refused)
        return self._opened(cookie, row).token

    async def end(self, cookie: str) -> None:
        """Forget a session."""
        async with self._database.transaction() as session:
            await session.execute(_row_of(rules.digest_of(cookie)))

    def seal(self, text: str, purpose: str) -> str:
        """A text that a page keeps for the next one, and that nobody can read there."""
        stamped = f"{datetime.now(UTC).isoformat()} {text}".encode()
        return self._encryptor.encrypt(stamped, associated_data=purpose).hex()

    def unseal(self, sealed: str, purpose: str) -> str | None:
        """That text, for some minutes."""
        try:
            stamp, _, text = (
                self._encryptor.decrypt(bytes.fromhex(sealed), associated_data=purpose).decode().partition(" ")
            )
        except (DecryptionFailed, ValueError):
            return None
        return text if datetime.now(UTC) - datetime.fromisoformat(stamp) < SEALED_LIFE else None

    async def purge(self) -> None:
        """Delete sessions that have expired, and calls that nobody waits for any more."""
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            over = select(col(BrowserSessionRow.digest)).where(col(BrowserSessionRow.expires_at) < now)
            rows = delete(BrowserSessionRow).where(col(BrowserSessionRow.digest).in_(over.limit(PURGED_AT_ONCE)))
            await session.execute(rows)
            await session.execute(delete(RefreshRow).where(col(RefreshRow.started_at) < now - self._life))

    async def _renew(self, digest: bytes, origin: Origin, *, refused: str | None = None) -> BrowserSessionRow:
        lost: Problem | None = None
        async with self._database.transaction() as session:
            row = await self._lock(session, digest)
            now = datetime.now(UTC)
            is_refused = refused is not None and self._decrypt(digest, "token", row.token) == refused
            if not is_refused and not rules.has_to_renew(row.token_expires_at, now):
                return row  # Another tab has renewed it while this one waited.
            if not await self._announce(digest, now):
                lost = _unknown()
            else:
                try:
                    self._store(row, await self._refresh(row, origin))
                except Problem as problem:
                    lost = problem if _is_not_done(problem) else _unknown()
            if lost is not None and not _is_not_done(lost):
                await session.execute(_row_of(digest))
            await session.execute(delete(RefreshRow).where(col(RefreshRow.digest) == digest))
        if lost is None:
            return row
        if _is_not_done(lost):
            raise lost
        log.info("browser_session_lost")
        raise SessionEnded

    async def _announce(self, digest: bytes, now: datetime) -> bool:
        """Commit that the call is about to be made; False where one was, whose outcome is not known."""
        async with self._database.transaction() as session:
            if await session.get(RefreshRow, digest) is not None:
                return False
            session.add(RefreshRow(digest=digest, started_at=now))
        return True

    async def _refresh(self, row: BrowserSessionRow, origin: Origin) -> Answer:
        token = self._decrypt(row.digest, "refresh_token", row.refresh_token)
        return await self._gateway.call(
            "identity", "POST", "/v1/sessions/refresh", origin=origin, body={"refresh_token": token}
        )

    async def _lock(self, session: AsyncSession, digest: bytes) -> BrowserSessionRow:
        row: BrowserSessionRow | None = (await session.execute(_found(digest).with_for_update())).scalar_one_or_none()
        self._require(row, datetime.now(UTC))
        assert row is not None
        return row

    def _require(self, row: BrowserSessionRow | None, now: datetime) -> None:
        if row is None or rules.is_over(
            last_seen_at=row.last_seen_at, expires_at=row.expires_at, idle=self._idle, now=now
        ):
            raise SessionEnded

    def _store(self, row: BrowserSessionRow, issued: Answer) -> None:
        row.person = {**issued["principal"], "livemode": issued["livemode"], "session_id": issued["id"]}
        row.token = self._encrypt(row.digest, "token", issued["token"])
        row.token_expires_at = datetime.fromisoformat(issued["expires_at"])
        row.refresh_token = self._encrypt(row.digest, "refresh_token", issued["refresh_token"])

    def _opened(self, cookie: str, row: BrowserSessionRow) -> BrowserSession:
        token = self._decrypt(row.digest, "token", row.token)
        return BrowserSession(cookie, row.person, token, row.expires_at, row.stepped_up_until)

    def _encrypt(self, digest: bytes, column: str, value: str) -> bytes:
        return self._encryptor.encrypt(value.encode(), associated_data=f"{column}:{digest.hex()}")

    def _decrypt(self, digest: bytes, column: str, value: bytes) -> str:
        """Raises `SessionEnded` where the key is not configured any more."""
        try:
            return self._encryptor.decrypt(value, associated_data=f"{column}:{digest.hex()}").decode()
        except DecryptionFailed as error:
            raise SessionEnded from error


def _found(digest: bytes) -> Any:
    return select(BrowserSessionRow).where(col(BrowserSessionRow.digest) == digest)


def _row_of(digest: bytes) -> Any:
    return delete(BrowserSessionRow).where(col(BrowserSessionRow.digest) == digest)


def _is_not_done(problem: Problem) -> bool:
    """Whether the refresh token was surely not used."""
    return isinstance(problem, TooMany) or (isinstance(problem, Away) and not problem.outcome_is_unknown)


def _unknown() -> Problem:
    return Problem(service="identity", status=401, code="session_revoked")
