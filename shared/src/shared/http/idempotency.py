"""Idempotency-Key: the stored answer lives in the same transaction as the write, so a repeat can never do the work twice.

An advisory lock on the key lets one request work while others with the same key get 409; it ends with the transaction, after the
commit is visible, so whoever gets it next finds the stored answer.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, SmallInteger, Table, Text, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.auth.decisions import Caller
from shared.auth.seal import KeyRing, SealBroken
from shared.database import NAMING
from shared.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed, WaybillError
from shared.http import problems

KEY_LENGTH_MAX = 255
STORED_ERRORS = (NotFound, Conflict, PreconditionFailed)
"""Refusals that were decided inside the transaction and would be decided the same way again."""

_tables = MetaData(naming_convention=NAMING)
KEYS = Table(
    "idempotency_keys",
    _tables,
    Column("scope", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("media_type", Text),
    Column("etag", Text),
    Column("sealed_body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
)

_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_FIND = text("SELECT fingerprint, status, media_type, etag, sealed_body FROM idempotency_keys WHERE scope = :scope")
_PURGE = text(
    """DELETE FROM idempotency_keys WHERE scope IN
    (SELECT scope FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours) LIMIT :rows_max)"""
)
_PURGED_ROWS_MAX = 5_000


def add_tables(metadata: MetaData) -> None:
    KEYS.to_metadata(metadata)


@dataclass(frozen=True, slots=True)
class Claim:
    """One request under one key: what it is a repeat of (`scope`), and what it asks (`fingerprint`)."""

    scope: bytes
    fingerprint: bytes

    @property
    def lock(self) -> int:
        return int.from_bytes(self.scope[:8], "big", signed=True)


def claim_of(request: Request, caller: Caller, route: str, body: bytes) -> Claim | None:
    """The claim that a request makes, or None without a key. Raises `BadRequest` for a key that cannot be one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise BadRequest(
            f"an Idempotency-Key has 1 to {KEY_LENGTH_MAX} printable characters", code="idempotency_key_invalid"
        )
    scope = "\n".join((caller.tenant_id_or_none or "", caller.actor, caller.via, request.method, route, key))
    question = f"{request.url.path}?{request.url.query}\n{request.headers.get('if-match', '')}\n".encode()
    return Claim(hashlib.sha256(scope.encode()).digest(), hashlib.sha256(question + body).digest())


async def run(
    session: AsyncSession, claim: Claim, ring: KeyRing, request_id: str, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Do the work once: the stored answer for a repeat, else the work's own answer, stored with it.

    Raises `Conflict` while another request with this key is under way and `Invalid` when the key was used for another request.
    """
    if not (await session.execute(_LOCK, {"lock": claim.lock})).scalar_one():
        raise Conflict("a request with this Idempotency-Key is under way", code="idempotency_in_flight")
    stored = (await session.execute(_FIND, {"scope": claim.scope})).one_or_none()
    if stored is not None:
        if bytes(stored.fingerprint) != claim.fingerprint:
            raise Invalid("this Idempotency-Key was used for another request", code="idempotency_key_reused")
        try:
            body = ring.open(bytes(stored.sealed_body), bound_to=claim.scope.hex())
        except SealBroken as error:
            # The secret was changed meanwhile. The work was done; doing it again would be the one wrong answer.
            raise Conflict(
                "the answer to this Idempotency-Key cannot be read any more", code="idempotency_answer_lost"
            ) from error
        headers = {"Idempotency-Replayed": "true", **({"ETag": stored.etag} if stored.etag else {})}
        return Response(body, status_code=stored.status, media_type=stored.media_type, headers=headers)
    response = await _attempt(session, request_id, work)
    if response.headers.get("cache-control") != "no-store":
        await _store(session, claim, ring, response)
    return response


async def purge(session: AsyncSession, hours: int) -> None:
    """Forget keys older than that, a bounded number at a time."""
    await session.execute(_PURGE, {"hours": hours, "rows_max": _PURGED_ROWS_MAX})


async def _attempt(session: AsyncSession, request_id: str, work: Callable[[], Awaitable[Response]]) -> Response:
    try:
        # Undoes the work's rows and what it was about to publish, but not the transaction that keeps the refusal.
        async with session.begin_nested():
            return await work()
    except STORED_ERRORS as error:
        refusal: WaybillError = error
        return problems.problem(refusal, request_id)


async def _store(session: AsyncSession, claim: Claim, ring: KeyRing, response: Response) -> None:
    await session.execute(
        insert(KEYS).values(
            scope=claim.scope,
            fingerprint=claim.fingerprint,
            status=response.status_code,
            media_type=response.media_type or response.headers.get("content-type"),
            etag=response.headers.get("etag"),
            sealed_body=ring.seal(bytes(response.body), bound_to=claim.scope.hex()),
        )
    )
