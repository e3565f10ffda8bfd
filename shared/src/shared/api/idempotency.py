"""Idempotency-Key: the response is stored in the transaction of the write, so that a repeat never does the work twice.
A response that holds a secret is never stored: a repeat hears what was made.

An advisory lock on the key lets one request work; others with the same key get 409 meanwhile. The lock ends after the commit, so that the
next holder finds the stored response. Work that cannot be done in a transaction, because it waits for an external server, inserts a row
before it begins (`run_outside_transaction`).
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, SmallInteger, Table, Text, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.access.principals import Caller
from shared.api import problems
from shared.crypto.encryptor import DecryptionFailed, Encryptor
from shared.errors import BadRequest, Conflict, Invalid, NotFound, PreconditionFailed, WaybillError
from shared.postgres.advisory_locks import try_lock_hashes
from shared.postgres.database import Database
from shared.postgres.tables import NAMING_CONVENTION

KEY_LENGTH_MAX = 255
STORED_ERRORS = (NotFound, Conflict, PreconditionFailed)
"""Errors that are stored like a response: they come from the state of the data."""
UNDER_WAY = 0
"""The status of a row whose response is not there yet."""
UNDER_WAY_SECONDS_MAX = 120
"""After this time the work counts as broken off; a repeat does it again."""

_tables = MetaData(naming_convention=NAMING_CONVENTION)
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

_FIND = text(
    """SELECT scope, fingerprint, status, media_type, etag, sealed_body, extract(epoch FROM now() - created_at) AS age_seconds
    FROM idempotency_keys WHERE scope = ANY(CAST(:scopes AS bytea[]))"""
)
_STORE = text(
    """INSERT INTO idempotency_keys (scope, fingerprint, status, media_type, etag, sealed_body)
    SELECT * FROM unnest(
        CAST(:scopes AS bytea[]), CAST(:fingerprints AS bytea[]), CAST(:statuses AS smallint[]),
        CAST(:media_types AS text[]), CAST(:etags AS text[]), CAST(:bodies AS bytea[])
    )"""
)
_ANNOUNCE = text(
    """INSERT INTO idempotency_keys (scope, fingerprint, status, sealed_body) VALUES (:scope, :fingerprint, :under_way, '')
    ON CONFLICT (scope) DO UPDATE SET created_at = now()"""
)
_TAKE_BACK = text("DELETE FROM idempotency_keys WHERE scope = :scope AND status = :under_way RETURNING scope")
_PURGE = text(
    """DELETE FROM idempotency_keys WHERE scope IN
    (SELECT scope FROM idempotency_keys WHERE created_at < now() - make_interval(hours => :hours) LIMIT :rows_max)"""
)
_PURGED_ROWS_MAX = 5_000


def add_tables(metadata: MetaData) -> None:
    KEYS.to_metadata(metadata)


@dataclass(frozen=True, slots=True)
class Claim:
    """One request with a key. Requests with the same `scope` are repeats; their `fingerprint` (path, body) must be the same, too."""

    scope: bytes
    fingerprint: bytes

    @property
    def lock(self) -> int:
        return int.from_bytes(self.scope[:8], "big", signed=True)


def claim_of(request: Request, caller: Caller, route: str, body: bytes) -> Claim | None:
    """The claim of a request, or None without a key. Raises `BadRequest` for a malformed key."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise BadRequest(
            f"an Idempotency-Key has 1 to {KEY_LENGTH_MAX} printable characters", code="idempotency_key_invalid"
        )
    # Two keys of one user may do different things: neither gets what the other was answered.
    who = (caller.tenant_id_or_none or "", caller.actor, caller.via, caller.credential_id or "")
    scope = "\n".join((*who, request.method, route, key))
    question = f"{request.url.path}?{request.url.query}\n{request.headers.get('if-match', '')}\n".encode()
    return Claim(hashlib.sha256(scope.encode()).digest(), hashlib.sha256(question + body).digest())


async def run(
    session: AsyncSession, claim: Claim, encryptor: Encryptor, request_id: str, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Do the work once: returns the stored response of a repeat, else the response of the work, which is stored.

    Raises `Conflict` while another request with this key is under way and `Invalid` when the key was used for another request.
    """
    (known,) = await recall(session, [claim], encryptor)
    if isinstance(known, WaybillError):
        raise known
    if known is not None:
        return known
    response = await _attempt(session, request_id, work)
    await store(session, [(claim, _for_repeats(response, request_id))], encryptor)
    return response


async def run_outside_transaction(
    database: Database, claim: Claim | None, encryptor: Encryptor, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Do work once that must not hold a transaction: returns the stored response of a repeat, else the response of the work.

    Raises like `run`; errors of the work are not stored. Work that ends with its process may be done once more.
    """
    if claim is None:
        return await work()
    async with database.transaction() as session:
        (known,) = await recall(session, [claim], encryptor)
        if isinstance(known, WaybillError):
            raise known
        if known is not None:
            return known
        announced = {"scope": claim.scope, "fingerprint": claim.fingerprint, "under_way": UNDER_WAY}
        await session.execute(_ANNOUNCE, announced)
    answer: Response | None = None
    try:
        answer = await work()
    finally:
        async with database.transaction() as session:
            found = await session.execute(_TAKE_BACK, {"scope": claim.scope, "under_way": UNDER_WAY})
            # None: a repeat assumed that this work was broken off, did it again and has ended already.
            if found.first() is not None and answer is not None:
                await store(session, [(claim, answer)], encryptor)
    return answer


async def recall(
    session: AsyncSession, claims: Sequence[Claim], encryptor: Encryptor
) -> list[Response | WaybillError | None]:
    """For each claim the stored response, or the error, or None: then this transaction does the work."""
    ours = await try_lock_hashes(session, [claim.lock for claim in claims])
    # A second statement: its snapshot is taken after the locks, so that it sees what their former holders committed.
    rows = (await session.execute(_FIND, {"scopes": [claim.scope for claim in claims]})).all()
    stored = {bytes(row.scope): row for row in rows}
    found: list[Response | WaybillError | None] = []
    begun: set[bytes] = set()
    for claim, is_ours in zip(claims, ours, strict=True):
        row = stored.get(claim.scope)
        if not is_ours or (row is None and claim.scope in begun):
            # One transaction can take a lock twice, so a repeat in the same group is refused here.
            found.append(_in_flight())
        elif row is None:
            begun.add(claim.scope)
            found.append(None)
        elif bytes(row.fingerprint) != claim.fingerprint:
            found.append(Invalid("this Idempotency-Key was used for another request", code="idempotency_key_reused"))
        elif row.status == UNDER_WAY:
            found.append(_in_flight() if row.age_seconds < UNDER_WAY_SECONDS_MAX else None)
        else:
            found.append(_replayed(claim, row, encryptor))
    return found


async def store(session: AsyncSession, answers: Sequence[tuple[Claim, Response]], encryptor: Encryptor) -> None:
    """Store these responses for repeats, except those that hold a secret."""
    kept = [(claim, answer) for claim, answer in answers if not _holds_secret(answer)]
    if not kept:
        return
    await session.execute(
        _STORE,
        {
            "scopes": [claim.scope for claim, _ in kept],
            "fingerprints": [claim.fingerprint for claim, _ in kept],
            "statuses": [answer.status_code for _, answer in kept],
            "media_types": [answer.media_type or answer.headers.get("content-type") for _, answer in kept],
            "etags": [answer.headers.get("etag") for _, answer in kept],
            "bodies": [
                encryptor.encrypt(bytes(answer.body), associated_data=claim.scope.hex()) for claim, answer in kept
            ],
        },
    )


async def purge(session: AsyncSession, hours: int) -> None:
    """Delete keys older than that, a bounded number at a time."""
    await session.execute(_PURGE, {"hours": hours, "rows_max": _PURGED_ROWS_MAX})


async def _attempt(session: AsyncSession, request_id: str, work: Callable[[], Awaitable[Response]]) -> Response:
    try:
        # The savepoint undoes the rows and events of the work; the transaction goes on and stores the error.
        async with session.begin_nested():
            return await work()
    except STORED_ERRORS as error:
        refusal: WaybillError = error
        return problems.problem(refusal, request_id)


def _for_repeats(answer: Response, request_id: str) -> Response:
    """What repeats are answered: the same or, where it holds a secret, that the work is done, and the id of what it made."""
    if not _holds_secret(answer):
        return answer
    made = json.loads(bytes(answer.body)).get("id")
    ids = {"existing_id": made} if made else {}
    done = Conflict("this was done already, and its secret is answered once", code="already_created", **ids)
    return problems.problem(done, request_id)


def _holds_secret(answer: Response) -> bool:
    return answer.headers.get("cache-control") == "no-store"


def _in_flight() -> Conflict:
    return Conflict("a request with this Idempotency-Key is under way", code="idempotency_in_flight")


def _replayed(claim: Claim, row: Any, encryptor: Encryptor) -> Response | WaybillError:
    try:
        body = encryptor.decrypt(bytes(row.sealed_body), associated_data=claim.scope.hex())
    except DecryptionFailed:
        # The key was changed meanwhile. The work was done and must not be done again.
        return Conflict("the answer to this Idempotency-Key cannot be read any more", code="idempotency_answer_lost")
    headers = {"Idempotency-Replayed": "true", **({"ETag": row.etag} if row.etag else {})}
    if row.media_type == problems.MEDIA_TYPE:
        return problems.ProblemResponse(body, code=json.loads(body)["code"], status_code=row.status, headers=headers)
    return Response(body, status_code=row.status, media_type=row.media_type, headers=headers)
