"""Carries out replays in steps. A step is one transaction: it queues some deliveries and stores the progress of the replay.

The task of a replay is recorded step by step. A step that is killed has done nothing. Nothing is queued twice, because there is one
delivery for an event and an endpoint. Type and locations are matched with the endpoint as it is now, except in a replay of the deliveries
that a list shows: these match by the rule of the list, and each is read once.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.chassis.parts import periodically
from shared.ids import first_id_at, from_uuid, to_uuid
from shared.postgres.database import Database
from shared.tasks import Again, Attempted, Task, TaskKind
from webhooks import queue
from webhooks.deliveries import DeliveryFilters, Match, Span
from webhooks.endpoints import EndpointRow, wants_type
from webhooks.events import SETTLED
from webhooks.postgres import made_at
from webhooks.replays.operations import REPLAY_STEP, SWITCHED_OFF, finish
from webhooks.replays.tables import ReplayRow

EXAMINED_MAX = 500
"""Rows that one step examines."""
STEP_SECONDS = 0.5
"""A step queues as many deliveries as the rate allows in this time."""
WAITING_MAX = 5_000
"""Deliveries to an endpoint that may wait in the queue: with more, its replays pause and leave the slots to its retries."""
WAIT_SECONDS = 1.0
SETTLING_SECONDS = 0.2
FAILURE_SECONDS_MIN = 10.0
FAILURE_SECONDS_MAX = 60.0
FAILURES_MAX = 200
"""Failed steps in a row after which a replay fails: with the delays between them, some hours in which the cause can be repaired."""
KEPT_DAYS = 90
PURGE_SECONDS = 3600.0
PURGED_MAX = 1_000

_FAILED = text(
    f"""
    SELECT d.event_id, d.event_type AS type, e.location_ids, 'failed' AS status, d.failure, true AS settled, false AS in_flight,
        CAST(:after_position AS bigint) AS position
    FROM (
        SELECT event_id, event_type, failure FROM deliveries
        WHERE endpoint_id = :endpoint_id AND status = 'failed' AND event_id > :after_event_id AND event_id >= :first AND event_id < :last
        ORDER BY event_id LIMIT {EXAMINED_MAX}
    ) d
    LEFT JOIN LATERAL (SELECT location_ids FROM events WHERE id = d.event_id LIMIT 1) e ON true
    ORDER BY d.event_id
    """  # noqa: S608 - our own number
)
# Limits are part of the text: with a parameter PostgreSQL would keep a generic plan that reads and sorts everything.
# One statement has one snapshot: an event with neither a delivery nor a batch lease for this endpoint was never sent to it.
_EVENTS = text(
    f"""
    WITH held AS MATERIALIZED (
        SELECT pair.event_id FROM flights, unnest(event_ids, endpoint_ids) AS pair (event_id, endpoint_id)
        WHERE pair.endpoint_id = :endpoint_id
    )
    SELECT e.id AS event_id, e.position, e.type, e.location_ids, e.position < {SETTLED} AS settled, d.status, d.failure,
        e.id IN (SELECT event_id FROM held) AS in_flight
    FROM (
        SELECT id, position, type, location_ids FROM events
        WHERE tenant_id = :tenant_id AND livemode = :livemode AND position > :after_position AND id >= :first AND id < :last
        ORDER BY position LIMIT {EXAMINED_MAX}
    ) e
    LEFT JOIN LATERAL (
        SELECT status, failure FROM deliveries WHERE event_id = e.id AND endpoint_id = :endpoint_id LIMIT 1
    ) d ON true
    ORDER BY e.position
    """  # noqa: S608 - our own text
)
_WAITING = text(
    """
    SELECT count(*) FROM (SELECT FROM delivery_due WHERE retry AND endpoint_id = :endpoint_id LIMIT :rows_max) AS waiting
    """
)
_PURGE = text(
    """
    DELETE FROM replays WHERE id = ANY(ARRAY(
        SELECT id FROM replays WHERE finished_at < now() - make_interval(days => :days) LIMIT :rows_max
    ))
    """
)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The rows of a step: `examined` rows up to `last`, of which so many match, and the events that are to be sent, by endpoint."""

    examined: int
    matched: int
    last: Row[Any] | None
    to_send: Mapping[UUID, Sequence[UUID]]
    to_expedite: Mapping[UUID, Sequence[UUID]]
    """Of deliveries that wait for a retry."""
    is_all: bool
    """There are no further rows."""

    @property
    def sendable(self) -> int:
        return sum(len(ids) for by_endpoint in (self.to_send, self.to_expedite) for ids in by_endpoint.values())

    @property
    def endpoint_ids(self) -> set[UUID]:
        return {*self.to_send, *self.to_expedite}


def task_kind() -> TaskKind:
    """How the tasks of replays are worked on: one step at a time in each process."""
    return TaskKind(
        REPLAY_STEP,
        record=_take_steps,
        give_up=_give_up,
        at_once=1,
        attempts_max=FAILURES_MAX,
        delay_seconds_min=FAILURE_SECONDS_MIN,
        delay_seconds_max=FAILURE_SECONDS_MAX,
    )


def purging(database: Database) -> Callable[[], Awaitable[None]]:
    """A part's `run`: delete replays that ended `KEPT_DAYS` ago, until cancelled."""

    async def work() -> None:
        async with database.transaction() as session:
            await session.execute(_PURGE, {"days": KEPT_DAYS, "rows_max": PURGED_MAX})

    return periodically(work, PURGE_SECONDS)


async def _take_steps(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again]:
    again: dict[UUID, Again] = {}
    for one in attempted:
        row = await _lock(session, one.task)
        if row is None:
            continue
        now = one.task.claimed_at
        delay_seconds = await _take_step(session, row, now)
        row.version += 1
        row.updated_at = now
        if delay_seconds is not None:
            again[one.task.id] = timedelta(seconds=delay_seconds)
    return again


async def _give_up(session: AsyncSession, task: Task, reason: str) -> None:
    row = await _lock(session, task)
    if row is not None:
        finish(row, "failed", task.claimed_at, "gave_up")
        row.version += 1


async def _lock(session: AsyncSession, task: Task) -> ReplayRow | None:
    """The replay of a task, locked; None if it has ended."""
    statement = select(ReplayRow).where(col(ReplayRow.id) == task.key, col(ReplayRow.status) == "running")
    return (await session.execute(statement.with_for_update())).scalar_one_or_none()


async def _take_step(session: AsyncSession, row: ReplayRow, now: datetime) -> float | None:
    """Take one step; returns the seconds to the next one, None when the replay has ended."""
    endpoint = None
    if row.endpoint_id is not None:
        found = await session.execute(select(EndpointRow).where(col(EndpointRow.id) == row.endpoint_id))
        endpoint = found.scalar_one()
        if endpoint.deleted_at is not None:
            finish(row, "failed", now, "endpoint_deleted")
            return None
        if not endpoint.enabled and not row.dry_run:
            finish(row, "failed", now, "endpoint_disabled")
            return None
        if not row.dry_run and await _is_full(session, to_uuid(endpoint.id)):
            return WAIT_SECONDS
    if row.kind == "deliveries" or endpoint is None:
        chunk = await _read_deliveries(session, row)
    else:
        chunk = await _read_chunk(session, row, endpoint)
    if not row.dry_run:
        if endpoint is None and await _any_is_full(session, chunk.endpoint_ids):
            return WAIT_SECONDS
        queued = await _queue(session, row, chunk)
        row.queued += queued
        row.skipped += chunk.matched - queued
    else:
        row.skipped += chunk.matched - chunk.sendable
    row.examined += chunk.examined
    row.matched += chunk.matched
    if chunk.last is not None:
        _note_position(row, chunk.last)
    if chunk.is_all and row.until <= now:
        row.progress = 1.0
        finish(row, "completed", now)
        return None
    if chunk.examined == 0:
        return SETTLING_SECONDS
    return 0.0 if row.dry_run else chunk.sendable / row.rate_per_second


def _note_position(row: ReplayRow, last: Row[Any]) -> None:
    if row.kind == "deliveries":
        event_id, row.after_endpoint_id = to_uuid(last.event_id), to_uuid(last.endpoint_id)
    else:
        event_id, row.after_position = last.event_id, last.position
    row.after_event_id = event_id
    done = (made_at(event_id) - row.since) / (row.until - row.since)
    row.progress = max(row.progress, min(done, 1.0))


async def _queue(session: AsyncSession, row: ReplayRow, chunk: _Chunk) -> int:
    """Queue what is to be sent; returns how many of them there are."""
    await queue.lock_job_order(session, sorted(chunk.endpoint_ids))
    queued = 0
    for endpoint_id, event_ids in chunk.to_send.items():
        queued += await queue.enqueue(session, endpoint_id, event_ids, again=_statuses_to_resend(row))
    for endpoint_id, event_ids in chunk.to_expedite.items():
        queued += await queue.expedite(session, endpoint_id, event_ids)
    return queued


async def _is_full(session: AsyncSession, endpoint_id: UUID) -> bool:
    values = {"endpoint_id": endpoint_id, "rows_max": WAITING_MAX}
    return int((await session.execute(_WAITING, values)).scalar_one()) >= WAITING_MAX


async def _any_is_full(session: AsyncSession, endpoint_ids: Iterable[UUID]) -> bool:
    for endpoint_id in endpoint_ids:
        if await _is_full(session, endpoint_id):
            return True
    return False


def _room(row: ReplayRow) -> int:
    """How many may be sent in one step."""
    return EXAMINED_MAX if row.dry_run else max(1, int(row.rate_per_second * STEP_SECONDS))


async def _read_deliveries(session: AsyncSession, row: ReplayRow) -> _Chunk:
    """The next deliveries that the list shows with the replay's filters, oldest first."""
    # They were checked when the replay was created.
    asked = DeliveryFilters.model_construct(
        **row.deliveries or {}, endpoint_id=row.endpoint_id, created_from=row.since, created_before=row.until
    )
    match = Match.of(row.tenant_id, row.livemode, asked, newest_first=False)
    position = None
    if row.after_event_id.int:
        position = (from_uuid("evt", row.after_event_id), from_uuid("ep", row.after_endpoint_id))
    span = Span(max(first_id_at(row.since), row.after_event_id), first_id_at(row.until))
    rows = (await session.execute(match.examine(span, position, EXAMINED_MAX))).all()
    enabled = await _enabled(session, {one.endpoint_id for one in rows if one.matches})
    taken = _take(rows, _room(row), lambda one: one.matches and one.endpoint_id in enabled)
    to_send, to_expedite = defaultdict[UUID, list[UUID]](list), defaultdict[UUID, list[UUID]](list)
    for one in taken:
        if one.matches and one.endpoint_id in enabled:
            chosen = to_expedite if one.status == "pending" else to_send
            chosen[to_uuid(one.endpoint_id)].append(to_uuid(one.event_id))
    return _Chunk(
        examined=sum(one.status is not None for one in taken),
        matched=sum(one.matches for one in taken),
        last=taken[-1] if taken else None,
        to_send=to_send,
        to_expedite=to_expedite,
        is_all=len(taken) == len(rows) and not (rows and rows[-1].more),
    )


async def _enabled(session: AsyncSession, endpoint_ids: set[str]) -> set[str]:
    """Those of these endpoints that get deliveries."""
    statement = select(col(EndpointRow.id)).where(
        col(EndpointRow.id).in_(endpoint_ids), col(EndpointRow.enabled), col(EndpointRow.deleted_at).is_(None)
    )
    return set((await session.execute(statement)).scalars())


async def _read_chunk(session: AsyncSession, row: ReplayRow, endpoint: EndpointRow) -> _Chunk:
    values: dict[str, object] = {
        "endpoint_id": to_uuid(endpoint.id),
        "first": first_id_at(row.since),
        "last": first_id_at(row.until),
        "after_position": row.after_position,
    }
    if row.kind == "failed":
        rows = (await session.execute(_FAILED, {**values, "after_event_id": row.after_event_id})).all()
    else:
        values |= {"tenant_id": to_uuid(row.tenant_id), "livemode": row.livemode}
        rows = (await session.execute(_EVENTS, values)).all()
    settled = list(takewhile(lambda one: one.settled, rows))
    taken = _take(settled, _room(row), lambda one: _is_selected(one, row, endpoint))
    event_ids = [one.event_id for one in taken if _is_selected(one, row, endpoint)]
    return _Chunk(
        examined=len(taken),
        matched=len(event_ids),
        last=taken[-1] if taken else None,
        to_send={to_uuid(endpoint.id): event_ids} if event_ids else {},
        to_expedite={},
        is_all=len(taken) == len(rows) < EXAMINED_MAX,
    )


def _take(rows: Sequence[Row[Any]], room: int, is_sent: Callable[[Row[Any]], bool]) -> list[Row[Any]]:
    """The first rows, with at most `room` that are to be sent."""
    taken: list[Row[Any]] = []
    for one in rows:
        if room == 0:
            break
        room -= is_sent(one)
        taken.append(one)
    return taken


def _is_selected(one: Row[Any], row: ReplayRow, endpoint: EndpointRow) -> bool:
    if one.in_flight or one.location_ids is None or not wants_type(endpoint.event_types, one.type):
        return False
    if row.event_types is not None and not wants_type(row.event_types, one.type):
        return False
    wanted = endpoint.location_ids
    if wanted is not None and not {from_uuid("loc", location) for location in one.location_ids} & set(wanted):
        return False
    if row.kind == "missing":
        if one.status is None:
            return row.untried_since is None or made_at(one.event_id) >= row.untried_since
        return one.status == "failed" and one.failure in SWITCHED_OFF
    return bool(one.status != "pending")


def _statuses_to_resend(row: ReplayRow) -> tuple[str, ...]:
    return ("failed", "delivered") if row.kind in ("filter", "deliveries") else ("failed",)
