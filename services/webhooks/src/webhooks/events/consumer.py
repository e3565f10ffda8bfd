"""Consumes events of jobs and routes them to the endpoints that subscribed.

Nothing here knows what a job is: an event has a type, a tenant, locations, and a body that is passed on unchanged.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NotRequired, Protocol, cast
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as DriverUuid  # noqa: N811 - a class of that name
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from shared.ids import KNOWN_IDS_MAX, to_uuid
from webhooks.endpoints import TYPES_KEPT_MAX, EndpointCache
from webhooks.events.fan_out import FanOutResult, IncomingEvent, store_and_route
from webhooks.http_client import Message
from webhooks.notices import announce_events
from webhooks.postgres import AutocommitConnection
from webhooks.queue import Event, LeasedDelivery

CONSUMER_GROUP = "webhooks.fan-out"

EVENT_ID_LENGTH = 30
# Ids use Crockford's base 32, which leaves out four letters that `int(…, 32)` accepts: digits are translated. "!" is a digit in neither.
_CROCKFORD, _BASE_32 = b"0123456789abcdefghjkmnpqrstvwxyz", b"0123456789abcdefghijklmnopqrstuv"
_DIGITS = bytes(_BASE_32[_CROCKFORD.index(byte)] if byte in _CROCKFORD else ord("!") for byte in range(256))
# The form that our services write; any other form is converted.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00", re.ASCII)

GATHER_SECONDS = 0.02
GATHERED_MAX = 100
"""A batch of fewer events waits `GATHER_SECONDS` for more, if all its first attempts have begun already and so nothing else waits."""

HANDED_OVER = "webhooks_spread"
"""Key in `session.info` of the result of the fan-out, which the dispatcher gets after the commit."""


class Prestore(Protocol):
    """Begins first attempts before their event is stored."""

    def begin(self, event: Event, endpoint_ids: Sequence[UUID]) -> None: ...

    def begun(self, event_id: UUID) -> Sequence[LeasedDelivery]: ...

    def is_whole(self, event_ids: Collection[UUID]) -> bool: ...


class AttemptDispatcher(Protocol):
    """Makes first attempts: the dispatcher of this process. One that does not run has no room."""

    @property
    def prestore(self) -> Prestore: ...

    def room(self, endpoint_id: UUID) -> int: ...

    async def make_room(self) -> None: ...

    def accept(self, found: FanOutResult) -> None: ...


class _About(TypedDict):
    reference_id: NotRequired[str | None]


class _Addressed(TypedDict):
    """The part of an event's data that decides which endpoints get it, and by which its deliveries are found."""

    location_ids: list[str]
    livemode: bool
    job: NotRequired[_About]


# Parses the whole document, so that no malformed one is passed on, but keeps only these fields.
_ADDRESSED = TypeAdapter(_Addressed).validator


def read_event(headers: Mapping[str, str], value: bytes) -> IncomingEvent | None:
    """The event of a record; None if it belongs to no tenant. Raises `KeyError` or `ValueError` for one that cannot be read."""
    tenant_id = headers.get("ce_tenantid")
    if tenant_id is None:
        return None
    addressed = _ADDRESSED.validate_json(value)
    event_type, event_id = headers["ce_type"], headers["ce_id"]
    time = headers["ce_time"]
    occurred_at = datetime.fromisoformat(time)
    if _INSTANT.fullmatch(time) is None:
        occurred_at = occurred_at.astimezone(UTC)
        time = occurred_at.isoformat()
    # The body of every attempt, byte for byte: this is what is signed.
    body = b"".join((_beginning(event_type), time[:-6].encode(), b'Z","data":', value, b"}"))
    message = Message(event_id, body, headers.get("traceparent"), occurred_at)
    return IncomingEvent(
        event=Event(_event_uuid(event_id), _known_uuid(tenant_id), addressed["livemode"], event_type, message),
        subject=headers.get("ce_subject", ""),
        location_ids=tuple(map(_known_uuid, addressed["location_ids"])),
        reference=addressed.get("job", {}).get("reference_id"),
    )


def on_new_events(
    *, endpoint_cache: EndpointCache, dispatcher: AttemptDispatcher
) -> Callable[[Sequence[IncomingEvent]], None]:
    """The handler of new events, before they are stored: begins first attempts for which there is a free slot."""

    def arrived(incoming_events: Sequence[IncomingEvent]) -> None:
        if not endpoint_cache.is_current:
            return
        for incoming in incoming_events:
            event = incoming.event
            dispatcher.prestore.begin(
                event,
                endpoint_cache.matching_endpoints(event.tenant_id, event.livemode, event.type, incoming.location_ids),
            )

    return arrived


def on_batch(
    *,
    endpoint_cache: EndpointCache,
    dispatcher: AttemptDispatcher,
    autocommit: AutocommitConnection,
    lease_seconds: float,
) -> Callable[[AsyncSession, list[IncomingEvent]], Awaitable[None]]:
    """The handler of a batch: stores and routes it. Its result stays in the session until the commit."""

    async def handle(session: AsyncSession, incoming_events: list[IncomingEvent]) -> None:
        # No transaction is open yet: the session takes a connection with its first statement.
        await dispatcher.make_room()
        if len(incoming_events) < GATHERED_MAX and dispatcher.prestore.is_whole(
            [incoming.event.id for incoming in incoming_events]
        ):
            await asyncio.sleep(GATHER_SECONDS)
        session.info[HANDED_OVER] = await store_and_route(
            session,
            incoming_events,
            endpoint_cache=endpoint_cache,
            room=dispatcher.room,
            lease_seconds=lease_seconds,
            begun=dispatcher.prestore.begun,
            autocommit=autocommit,
        )
        announce_events(session, {(one.event.tenant_id, one.event.livemode) for one in incoming_events})

    return handle


def hand_over_after_commit(dispatcher: AttemptDispatcher) -> Callable[[AsyncSession], None]:
    """A hook that runs after the commit and gives the committed result of the fan-out to the dispatcher."""

    def hand_over(session: AsyncSession) -> None:
        found: FanOutResult | None = session.info.pop(HANDED_OVER, None)
        if found is not None:
            dispatcher.accept(found)

    return hand_over


@lru_cache(KNOWN_IDS_MAX)
def _known_uuid(typed_id: str) -> UUID:
    """The UUID of a tenant or a location; there are few of them, so they are cached. Raises `ValueError`."""
    return cast(UUID, DriverUuid(to_uuid(typed_id).bytes))


def _event_uuid(event_id: str) -> UUID:
    """The UUID of an event. Raises `ValueError`.

    Event ids never repeat, so no cache helps: they are parsed here, into the driver's own type, which is created, compared and written ten
    times as fast.
    """
    try:
        if len(event_id) != EVENT_ID_LENGTH or not event_id.startswith("evt_"):
            raise ValueError
        # 26 digits of 5 bits are 130 bits: a first digit above 7 does not fit into 16 bytes.
        return cast(UUID, DriverUuid(int(event_id[4:].encode().translate(_DIGITS), 32).to_bytes(16)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{event_id!r} is not an id") from error


@lru_cache(TYPES_KEPT_MAX)
def _beginning(event_type: str) -> bytes:
    """The beginning of a body, up to its timestamp."""
    return b'{"type":%s,"timestamp":"' % json.dumps(event_type).encode()
