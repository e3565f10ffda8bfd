"""Stores events and routes them: one delivery for each endpoint that wants the event, in the transaction that takes it.

Invariant: an event is stored, matched and given to a batch lease or to the queue at once or not at all, and only the first time that it is
seen. Its row is the proof.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from webhooks import queue
from webhooks.endpoints import EndpointCache
from webhooks.postgres import NO_VALUES, AutocommitConnection, Statement, array_literal, text_array_literal
from webhooks.queue import Event, Lease, LeasedDelivery, new_token

POSITIONS_PER_TRANSACTION = 65_536
STALE_VIEWS_MAX = 3
TEXTS_KEPT_MAX = 10_000
_IN_ORDER = -1
"""In the place of how much room there is: all of this endpoint's goes through the queue."""

Room = Callable[[UUID], int]
"""How many more deliveries of an endpoint this process can take on at once."""
Begun = Callable[[UUID], Sequence[LeasedDelivery]]
"""Of an event: those deliveries that this process began to attempt when it arrived."""

SETTLED = f"(pg_snapshot_xmin(pg_current_snapshot())::text::bigint * {POSITIONS_PER_TRANSACTION})"
"""SQL: events with a position below this are all there are, whoever is writing: the feed shows no others."""

# Nothing happens when an endpoint has changed since the view that the plan was made with (`known`); null: whatever it was.
_VIEW = f"""
    view AS MATERIALIZED (
        SELECT last_value = coalesce(CAST(:known AS bigint), last_value) AS current,
            pg_current_xact_id()::text::bigint * {POSITIONS_PER_TRANSACTION} AS base
        FROM endpoint_changes
    )
"""  # noqa: S608 - fixed text
_STORED = """
    INSERT INTO events (id, position, tenant_id, livemode, type, subject, location_ids, occurred_at, body, traceparent)
    SELECT id, base + place, tenant_id, livemode, type, subject, location_ids::uuid[],
        to_timestamp(occurred_us / CAST(1000000 AS float8)), body, traceparent
    FROM view, (
        SELECT unnest(CAST(CAST(:event_ids AS text) AS uuid[])) AS id, unnest(CAST(CAST(:places AS text) AS int[])) AS place,
            unnest(CAST(CAST(:tenant_ids AS text) AS uuid[])) AS tenant_id,
            unnest(CAST(CAST(:livemodes AS text) AS boolean[])) AS livemode,
            unnest(CAST(CAST(:types AS text) AS text[])) AS type, unnest(CAST(CAST(:subjects AS text) AS text[])) AS subject,
            unnest(CAST(CAST(:location_ids AS text) AS text[])) AS location_ids,
            unnest(CAST(CAST(:occurred_us AS text) AS bigint[])) AS occurred_us, unnest(CAST(:bodies AS bytea[])) AS body,
            unnest(CAST(CAST(:traceparents AS text) AS text[])) AS traceparent
    ) AS event
    WHERE view.current
"""
# Of events that are new, all of whose deliveries fly: the usual batch, for two thirds of what the next statement takes.
_STORE_NEW = Statement(
    f"""
    WITH {_VIEW}, stored AS ({_STORED}),
    taken AS (
        INSERT INTO flights (token, lease_until, event_ids, endpoint_ids)
        SELECT CAST(:token AS bigint), now() + make_interval(secs => CAST(:lease_seconds AS float8)),
            CAST(CAST(:taken_event_ids AS text) AS uuid[]), CAST(CAST(:taken_endpoint_ids AS text) AS uuid[])
        FROM view WHERE view.current AND CAST(:taken_event_ids AS text) <> '{NO_VALUES}'
    )
    SELECT current FROM view
    """  # noqa: S608 - fixed text
)
_STORE = Statement(
    f"""
    WITH {_VIEW},
    stored AS ({_STORED} ON CONFLICT DO NOTHING RETURNING id, position, tenant_id, livemode, type, subject),
    taken AS (
        INSERT INTO flights (token, lease_until, event_ids, endpoint_ids)
        SELECT CAST(:token AS bigint), now() + make_interval(secs => CAST(:lease_seconds AS float8)),
            array_agg(event_id), array_agg(endpoint_id)
        FROM unnest(CAST(CAST(:taken_event_ids AS text) AS uuid[]), CAST(CAST(:taken_endpoint_ids AS text) AS uuid[]))
            AS pair (event_id, endpoint_id)
        WHERE event_id IN (SELECT id FROM stored) HAVING count(*) > 0
    ),
    waiting AS MATERIALIZED (
        SELECT stored.*, pair.endpoint_id, pair.ordered
        FROM unnest(
            CAST(CAST(:waiting_event_ids AS text) AS uuid[]), CAST(CAST(:waiting_endpoint_ids AS text) AS uuid[]),
            CAST(CAST(:waiting_ordered AS text) AS boolean[])
        ) AS pair (event_id, endpoint_id, ordered)
        JOIN stored ON stored.id = pair.event_id
    ),
    shown AS (
        INSERT INTO deliveries (event_id, endpoint_id, tenant_id, livemode, event_type, status)
        SELECT id, endpoint_id, tenant_id, livemode, type, 'pending' FROM waiting
    ),
    queued AS (
        INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry, subject, position)
        SELECT id, endpoint_id,
            CASE WHEN ordered AND (
                EXISTS (SELECT FROM delivery_due b WHERE b.endpoint_id = waiting.endpoint_id AND b.subject = waiting.subject)
                OR row_number() OVER (PARTITION BY endpoint_id, subject, ordered ORDER BY position) > 1
            ) THEN {queue.BLOCKED} ELSE now() END,
            false, CASE WHEN ordered THEN subject END, CASE WHEN ordered THEN position END
        FROM waiting
    )
    SELECT id FROM stored UNION ALL SELECT NULL FROM view WHERE NOT current
    """  # noqa: S608 - fixed text
)


@dataclass(slots=True)
class IncomingEvent:
    """An event of another service, read as far as matching needs it; the message is what receivers get."""

    event: Event
    subject: str
    location_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class FanOutResult:
    """What became of a batch."""

    event_ids: Collection[UUID]
    """All of it, whether new or not."""
    lease: Lease
    """The flight's, which is real after the commit."""
    leased: list[LeasedDelivery]
    """To be attempted by this process then."""
    begun: list[LeasedDelivery]
    """What began before; it is part of the flight."""
    queued: int
    """In the queue, for any worker."""


@dataclass(slots=True)
class _Plan:
    taken: list[LeasedDelivery] = field(default_factory=list)
    """By this process, at once."""
    begun: list[LeasedDelivery] = field(default_factory=list)
    waiting: list[tuple[Event, UUID, bool]] = field(default_factory=list)
    """In the queue; the last says whether in the order of its subject."""


async def store_and_route(
    session: AsyncSession,
    incoming_events: Sequence[IncomingEvent],
    *,
    endpoint_cache: EndpointCache,
    room: Room,
    lease_seconds: float,
    begun: Begun = lambda _: (),
    autocommit: AutocommitConnection | None = None,
) -> FanOutResult:
    """Store new facts with their deliveries: as many in the hands of this process as it has room for, and what has begun already.

    All of it is one statement, which goes over the `wire` where there is one, unless the order of jobs asks for locks before it.
    """
    # A batch may hold a record twice; the first of them stands for both.
    unique = {incoming.event.id: incoming for incoming in reversed(incoming_events)}
    in_turn = list(unique.values())[::-1]
    for looks in range(STALE_VIEWS_MAX + 1):
        if endpoint_cache.last_change is None or looks:
            await endpoint_cache.load(session)
        lease = Lease(new_token(), time.monotonic() + lease_seconds, is_batch=True)
        plan = _plan(in_turn, endpoint_cache, room, begun, lease)
        known = endpoint_cache.last_change if looks < STALE_VIEWS_MAX else None
        ordered = {endpoint_id for _, endpoint_id, in_order in plan.waiting if in_order}
        if ordered:
            await queue.lock_job_order(session, ordered)
        values = _values(in_turn, plan, lease, known, lease_seconds)
        source = session if ordered or autocommit is None else autocommit
        stored = None if plan.waiting else await _store_new(source, values, unique.keys())
        if stored is None:
            stored = {row[0] for row in await _STORE.rows(source, values)}
        # None among them: the view was not the latest, and nothing was done.
        if None not in stored:
            leased = plan.taken if len(stored) == len(unique) else [one for one in plan.taken if one.event.id in stored]
            flying = [one for one in plan.begun if one.event.id in stored]
            lease.unrecorded = len(leased) + len(flying)
            return FanOutResult(unique.keys(), lease, leased, flying, len(plan.waiting))
    raise AssertionError("the last look takes whatever there is")


async def _store_new(
    source: AsyncSession | AutocommitConnection, values: Mapping[str, object], event_ids: Collection[UUID]
) -> Collection[UUID | None] | None:
    """What was stored: all, or nothing for an old view (None in it); None when it has to be found out which events are new."""
    rows = await _STORE_NEW.rows_if_new(source, values)
    if rows is None:
        return None
    return event_ids if rows[0][0] else {None}


def _plan(
    incoming_events: Sequence[IncomingEvent], endpoint_cache: EndpointCache, room: Room, begun: Begun, lease: Lease
) -> _Plan:
    """Who gets what, and what of it this process has room for. What has begun is part of it, even if its endpoint has changed since."""
    plan = _Plan()
    places: dict[UUID, int] = {}
    for incoming in incoming_events:
        event = incoming.event
        under_way = begun(event.id)
        plan.begun += under_way
        for endpoint_id in endpoint_cache.matching_endpoints(
            event.tenant_id, event.livemode, event.type, incoming.location_ids
        ):
            if under_way and any(one.endpoint_id == endpoint_id for one in under_way):
                continue
            left = places.get(endpoint_id)
            if left is None:
                target = endpoint_cache.target(endpoint_id)
                in_order = target is not None and target.ordered_by_job
                left = _IN_ORDER if in_order else room(endpoint_id)
            if left > 0:
                places[endpoint_id] = left - 1
                plan.taken.append(LeasedDelivery(event, endpoint_id, lease))
            else:
                places[endpoint_id] = left
                plan.waiting.append((event, endpoint_id, left == _IN_ORDER))
    return plan


def _values(
    incoming_events: Sequence[IncomingEvent], plan: _Plan, lease: Lease, known: int | None, lease_seconds: float
) -> dict[str, object]:
    flying = [*plan.taken, *plan.begun]
    return {
        **_events(incoming_events),
        "known": known,
        "token": lease.token,
        "lease_seconds": lease_seconds,
        "taken_event_ids": array_literal([one.event.id for one in flying]),
        "taken_endpoint_ids": array_literal([_text(one.endpoint_id) for one in flying]),
        "waiting_event_ids": array_literal(event.id for event, _, _ in plan.waiting),
        "waiting_endpoint_ids": array_literal(endpoint_id for _, endpoint_id, _ in plan.waiting),
        "waiting_ordered": array_literal(in_order for _, _, in_order in plan.waiting),
    }


def _events(incoming_events: Sequence[IncomingEvent]) -> dict[str, object]:
    # In the order of the key, so that two consumers that meet the same events wait for each other instead of deadlocking; `places` keep
    # the order of publication.
    placed = sorted(enumerate(incoming_events), key=lambda one: one[1].event.id)
    ordered = [incoming for _, incoming in placed]
    traceparents = [incoming.event.message.traceparent for incoming in ordered]
    return {
        "event_ids": array_literal([incoming.event.id for incoming in ordered]),
        "places": array_literal([place for place, _ in placed]),
        "tenant_ids": array_literal([_text(incoming.event.tenant_id) for incoming in ordered]),
        "livemodes": array_literal([incoming.event.livemode for incoming in ordered]),
        "types": text_array_literal([incoming.event.type for incoming in ordered]),
        "subjects": text_array_literal([incoming.subject for incoming in ordered]),
        "location_ids": text_array_literal([_literal(incoming.location_ids) for incoming in ordered]),
        "occurred_us": array_literal(
            [round(incoming.event.message.occurred_at.timestamp() * 1e6) for incoming in ordered]
        ),
        "bodies": [incoming.event.message.body for incoming in ordered],
        "traceparents": text_array_literal(traceparents) if any(traceparents) else NO_VALUES,
    }


# The same few tenants and places come again and again.
_text: Callable[[UUID], str] = lru_cache(TEXTS_KEPT_MAX)(str)
_literal: Callable[[tuple[UUID, ...]], str] = lru_cache(TEXTS_KEPT_MAX)(array_literal)
