"""Stores events and routes them: one delivery for each endpoint that wants the event, in one transaction.

Invariant: an event is stored and its deliveries are put into a batch lease or the queue in one transaction, once. The row of an event says
that this has happened.
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
"""Positions that one transaction has for its events: an event's position is the number of its transaction times this, plus its place in the
batch. So positions grow with transactions, and a batch may have as many events."""
STALE_VIEWS_MAX = 3
"""Plans that are discarded if they were made with stale endpoints. The next plan is always carried out."""
TEXTS_KEPT_MAX = 10_000
_ORDERED_BY_JOB = -1
"""Instead of the room for an endpoint: it is ordered by job, so all its deliveries go through the queue."""

Room = Callable[[UUID], int]
"""How many more deliveries to an endpoint this process can hold."""
Begun = Callable[[UUID], Sequence[LeasedDelivery]]
"""The deliveries of an event that this process began to attempt when the event arrived."""

SETTLED = f"(pg_snapshot_xmin(pg_current_snapshot())::text::bigint * {POSITIONS_PER_TRANSACTION})"
"""SQL: the first position of the oldest open transaction. No event will ever be added below it, so the feed shows only events below it."""

# `current` is false if an endpoint has changed since the change `known`, with which the plan was made: then nothing is stored. With `known`
# null the check is left out.
_VIEW = f"""
    view AS MATERIALIZED (
        SELECT last_value = coalesce(CAST(:known AS bigint), last_value) AS current,
            pg_current_xact_id()::text::bigint * {POSITIONS_PER_TRANSACTION} AS base
        FROM endpoint_changes
    )
"""  # noqa: S608 - fixed text
_STORED = """
    INSERT INTO events (id, position, tenant_id, livemode, type, subject, reference, location_ids, occurred_at, body, traceparent)
    SELECT id, base + place, tenant_id, livemode, type, subject, reference, location_ids::uuid[],
        to_timestamp(occurred_us / CAST(1000000 AS float8)), body, traceparent
    FROM view, (
        SELECT unnest(CAST(CAST(:event_ids AS text) AS uuid[])) AS id, unnest(CAST(CAST(:places AS text) AS int[])) AS place,
            unnest(CAST(CAST(:tenant_ids AS text) AS uuid[])) AS tenant_id,
            unnest(CAST(CAST(:livemodes AS text) AS boolean[])) AS livemode,
            unnest(CAST(CAST(:types AS text) AS text[])) AS type, unnest(CAST(CAST(:subjects AS text) AS text[])) AS subject,
            unnest(CAST(CAST(:references AS text) AS text[])) AS reference,
            unnest(CAST(CAST(:location_ids AS text) AS text[])) AS location_ids,
            unnest(CAST(CAST(:occurred_us AS text) AS bigint[])) AS occurred_us, unnest(CAST(:bodies AS bytea[])) AS body,
            unnest(CAST(CAST(:traceparents AS text) AS text[])) AS traceparent
    ) AS event
    WHERE view.current
"""
# The usual batch: all events are new, and this process holds all their deliveries. It takes two thirds of the time of the next statement.
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
    """An event of another service: what matching needs of it, and the message that receivers get."""

    event: Event
    subject: str
    location_ids: tuple[UUID, ...]
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class FanOutResult:
    """What the fan-out did with a batch."""

    event_ids: Collection[UUID]
    """All events of the batch, new or not."""
    lease: Lease
    """The batch lease, which is valid after the commit."""
    leased: list[LeasedDelivery]
    """Deliveries that this process is to attempt after the commit."""
    begun: list[LeasedDelivery]
    """Deliveries whose attempts began before; they are part of the batch lease."""
    queued: int
    """Number of deliveries that were put into the queue, for any worker."""


@dataclass(slots=True)
class _Plan:
    taken: list[LeasedDelivery] = field(default_factory=list)
    """Deliveries that this process takes."""
    begun: list[LeasedDelivery] = field(default_factory=list)
    waiting: list[tuple[Event, UUID, bool]] = field(default_factory=list)
    """Deliveries for the queue: event, endpoint, and whether the endpoint is ordered by job."""


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
    """Store new events with their deliveries. This process takes as many as it has room for, and those that it has begun already.

    This is one statement. It uses `autocommit` if that is given, unless endpoints ordered by job have to be locked before it.
    """
    # A batch may hold a record twice: the first is used.
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
        # With None among them the endpoints were stale, and nothing was stored.
        if None not in stored:
            leased = plan.taken if len(stored) == len(unique) else [one for one in plan.taken if one.event.id in stored]
            already_begun = [one for one in plan.begun if one.event.id in stored]
            lease.unrecorded = len(leased) + len(already_begun)
            return FanOutResult(unique.keys(), lease, leased, already_begun, len(plan.waiting))
    raise AssertionError("the last plan is always carried out")


async def _store_new(
    source: AsyncSession | AutocommitConnection, values: Mapping[str, object], event_ids: Collection[UUID]
) -> Collection[UUID | None] | None:
    """The stored events: all of them, or {None} if the endpoints were stale.

    None if an event was stored before: `_STORE` finds out which.
    """
    rows = await _STORE_NEW.rows_if_new(source, values)
    if rows is None:
        return None
    return event_ids if rows[0][0] else {None}


def _plan(
    incoming_events: Sequence[IncomingEvent], endpoint_cache: EndpointCache, room: Room, begun: Begun, lease: Lease
) -> _Plan:
    """Match events and endpoints, and divide the deliveries between this process and the queue.

    Deliveries that have begun are part of the plan even if their endpoint has changed since.
    """
    plan = _Plan()
    rooms: dict[UUID, int] = {}
    for incoming in incoming_events:
        event = incoming.event
        under_way = begun(event.id)
        plan.begun += under_way
        for endpoint_id in endpoint_cache.matching_endpoints(
            event.tenant_id, event.livemode, event.type, incoming.location_ids
        ):
            if under_way and any(one.endpoint_id == endpoint_id for one in under_way):
                continue
            left = rooms.get(endpoint_id)
            if left is None:
                target = endpoint_cache.target(endpoint_id)
                in_order = target is not None and target.ordered_by_job
                left = _ORDERED_BY_JOB if in_order else room(endpoint_id)
            if left > 0:
                rooms[endpoint_id] = left - 1
                plan.taken.append(LeasedDelivery(event, endpoint_id, lease))
            else:
                rooms[endpoint_id] = left
                plan.waiting.append((event, endpoint_id, left == _ORDERED_BY_JOB))
    return plan


def _values(
    incoming_events: Sequence[IncomingEvent], plan: _Plan, lease: Lease, known: int | None, lease_seconds: float
) -> dict[str, object]:
    held = [*plan.taken, *plan.begun]
    return {
        **_events(incoming_events),
        "known": known,
        "token": lease.token,
        "lease_seconds": lease_seconds,
        "taken_event_ids": array_literal([one.event.id for one in held]),
        "taken_endpoint_ids": array_literal([_text(one.endpoint_id) for one in held]),
        "waiting_event_ids": array_literal(event.id for event, _, _ in plan.waiting),
        "waiting_endpoint_ids": array_literal(endpoint_id for _, endpoint_id, _ in plan.waiting),
        "waiting_ordered": array_literal(in_order for _, _, in_order in plan.waiting),
    }


def _events(incoming_events: Sequence[IncomingEvent]) -> dict[str, object]:
    # Ordered by key, so that two consumers of the same events wait for each other instead of deadlocking; `places` have the order of
    # publication.
    placed = sorted(enumerate(incoming_events), key=lambda one: one[1].event.id)
    ordered = [incoming for _, incoming in placed]
    traceparents = [incoming.event.message.traceparent for incoming in ordered]
    references = [incoming.reference for incoming in ordered]
    return {
        "event_ids": array_literal([incoming.event.id for incoming in ordered]),
        "places": array_literal([place for place, _ in placed]),
        "tenant_ids": array_literal([_text(incoming.event.tenant_id) for incoming in ordered]),
        "livemodes": array_literal([incoming.event.livemode for incoming in ordered]),
        "types": text_array_literal([incoming.event.type for incoming in ordered]),
        "subjects": text_array_literal([incoming.subject for incoming in ordered]),
        "references": text_array_literal(references) if any(references) else NO_VALUES,
        "location_ids": text_array_literal([_literal(incoming.location_ids) for incoming in ordered]),
        "occurred_us": array_literal(
            [round(incoming.event.message.occurred_at.timestamp() * 1e6) for incoming in ordered]
        ),
        "bodies": [incoming.event.message.body for incoming in ordered],
        "traceparents": text_array_literal(traceparents) if any(traceparents) else NO_VALUES,
    }


# There are few tenants and locations, so their texts are cached.
_text: Callable[[UUID], str] = lru_cache(TEXTS_KEPT_MAX)(str)
_literal: Callable[[tuple[UUID, ...]], str] = lru_cache(TEXTS_KEPT_MAX)(array_literal)
