"""What webhooks does with other services' facts: it hands them on to whoever subscribed.

Nothing here knows what a job is: a fact is its type, its tenant, its locations, and bytes that are passed on as they came.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol, cast
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as DriverUuid  # noqa: N811 - a class of that name
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from shared.ids import KNOWN_IDS_MAX, to_uuid
from webhooks.attempts import Event, Leased, Message
from webhooks.directory import Directory
from webhooks.domain.matching import TYPES_KEPT_MAX
from webhooks.fan_out import Fact, Spread, spread
from webhooks.wire import Wire

ID_LENGTH = 26
# Ids are written in Crockford's alphabet, which leaves out four letters that Python's own base 32 has (and refuses others).
_DIGITS = str.maketrans(
    "0123456789abcdefghjkmnpqrstvwxyzilouABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789abcdefghijklmnopqrstuv" + "z" * 30
)

GATHER_SECONDS = 0.02
GATHERED_MAX = 100
"""Nobody waits for events to be stored whose deliveries have begun: while fewer than this have come, more are gathered."""

HANDED_OVER = "webhooks_spread"
"""Key under which a transaction's session carries what its commit will make real."""


class Early(Protocol):
    """Who begins attempts before their event is stored."""

    def begin(self, event: Event, endpoint_ids: Sequence[UUID]) -> None: ...

    def begun(self, event_id: UUID) -> Sequence[Leased]: ...

    def is_whole(self, event_ids: Collection[UUID]) -> bool: ...


class Taker(Protocol):
    """Who makes first attempts: the dispatcher of this process (one that does not run has no room for any)."""

    @property
    def early(self) -> Early: ...

    def room(self, endpoint_id: UUID) -> int: ...

    async def make_room(self) -> None: ...

    def accept(self, found: Spread) -> None: ...


class _Addressed(TypedDict):
    """The part of an event's data that decides who hears of it."""

    location_ids: list[str]
    livemode: bool


# Reads the whole of a document, so that none that is broken is passed on, but keeps nothing else of it.
_ADDRESSED = TypeAdapter(_Addressed)


def read(headers: Mapping[str, str], value: bytes) -> Fact | None:
    """One record; None for a fact that belongs to no tenant. Raises `KeyError` or `ValueError` when unreadable."""
    tenant_id = headers.get("ce_tenantid")
    if tenant_id is None:
        return None
    addressed = _ADDRESSED.validate_json(value)
    event_type, event_id = headers["ce_type"], headers["ce_id"]
    occurred_at = datetime.fromisoformat(headers["ce_time"])
    if occurred_at.tzinfo is not UTC:
        occurred_at = occurred_at.astimezone(UTC)
    body = _body(event_type, occurred_at, value)
    message = Message(event_id, body, headers.get("traceparent"), occurred_at)
    return Fact(
        event=Event(_event_uuid(event_id), _known_uuid(tenant_id), addressed["livemode"], event_type, message),
        subject=headers.get("ce_subject", ""),
        location_ids=tuple(map(_known_uuid, addressed["location_ids"])),
    )


def on_arrival(*, directory: Directory, taker: Taker) -> Callable[[Sequence[Fact]], None]:
    """What happens with facts as they arrive: whoever can be sent to at once, is, before the facts are stored."""

    def arrived(facts: Sequence[Fact]) -> None:
        if not directory.is_current:
            return
        for fact in facts:
            event = fact.event
            taker.early.begin(event, directory.wanting(event.tenant_id, event.livemode, event.type, fact.location_ids))

    return arrived


def on_events(
    *, directory: Directory, taker: Taker, wire: Wire, lease_seconds: float
) -> Callable[[AsyncSession, list[Fact]], Awaitable[None]]:
    """The handler that fans facts out. What this process takes on waits in the session for the commit."""

    async def handle(session: AsyncSession, facts: list[Fact]) -> None:
        # Nothing is open yet: the session takes a connection with its first statement.
        await taker.make_room()
        if len(facts) < GATHERED_MAX and taker.early.is_whole([fact.event.id for fact in facts]):
            await asyncio.sleep(GATHER_SECONDS)
        session.info[HANDED_OVER] = await spread(
            session,
            facts,
            directory=directory,
            room=taker.room,
            lease_seconds=lease_seconds,
            begun=taker.early.begun,
            wire=wire,
        )

    return handle


def handing_over(taker: Taker) -> Callable[[AsyncSession], None]:
    """A hook for after the commit: gives what it made real to the dispatcher."""

    def hand_over(session: AsyncSession) -> None:
        found: Spread | None = session.info.pop(HANDED_OVER, None)
        if found is not None:
            taker.accept(found)

    return hand_over


@lru_cache(KNOWN_IDS_MAX)
def _known_uuid(typed_id: str) -> UUID:
    """The id of a tenant or a place, of which there are few. Raises `ValueError`."""
    return cast(UUID, DriverUuid(to_uuid(typed_id).bytes))


def _event_uuid(event_id: str) -> UUID:
    """The id of an event as the database has it. Raises `ValueError`.

    Each event has one of its own, so none is found in a cache: read by hand, and kept in the driver's own type, which is made, compared
    and written ten times as fast.
    """
    prefix, _, suffix = event_id.partition("_")
    if prefix != "evt" or len(suffix) != ID_LENGTH or not (suffix.isascii() and suffix.isalnum()) or suffix[0] > "7":
        raise ValueError(f"{event_id!r} is not an id")
    try:
        return cast(UUID, DriverUuid(int(suffix.translate(_DIGITS), 32).to_bytes(16)))
    except ValueError as error:
        raise ValueError(f"{event_id!r} is not an id") from error


def _body(event_type: str, occurred_at: datetime, data: bytes) -> bytes:
    """The body of every attempt, byte for byte: it is what is signed."""
    timestamp = occurred_at.isoformat().replace("+00:00", "Z")
    return b'{"type":%s,"timestamp":"%s","data":%s}' % (_quoted(event_type), timestamp.encode(), data)


@lru_cache(TYPES_KEPT_MAX)
def _quoted(event_type: str) -> bytes:
    return json.dumps(event_type).encode()
