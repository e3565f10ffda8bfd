"""Carries out replays in steps. A step is one transaction: it queues some deliveries and stores the progress of the replay.

The task of a replay is recorded step by step. A step that is killed has done nothing. Nothing is queued twice, because there is one
delivery for an event and an endpoint. Type and locations are matched with the endpoint as it is now.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    """The rows of a step: `examined` rows up to `last`, and the events among them that are to be sent."""

    examined: int
    last: Row[Any] | None
    event_ids: list[UUID]
    is_all: bool
    """There are no further rows."""


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
    found = await session.execute(select(EndpointRow).where(col(EndpointRow.id) == row.endpoint_id))
    endpoint = found.scalar_one()
    if endpoint.deleted_at is not None:
        finish(row, "failed", now, "endpoint_deleted")
        return None
    if not endpoint.enabled and not row.dry_run:
        finish(row, "failed", now, "endpoint_disabled")
        return None
    if not row.dry_run and await _is_full(session, endpoint):
        return WAIT_SECONDS
    chunk = await _read_chunk(session, row, endpoint)
    if chunk.event_ids and not row.dry_run:
        row.queued += await queue.enqueue(
            session, to_uuid(row.endpoint_id), chunk.event_ids, again=_statuses_to_resend(row)
        )
    row.examined += chunk.examined
    row.matched += len(chunk.event_ids)
    if chunk.last is not None:
        row.after_position = chunk.last.position
        row.after_event_id = chunk.last.event_id
        done = (made_at(chunk.last.event_id) - row.since) / (row.until - row.since)
        row.progress = max(row.progress, min(done, 1.0))
    if chunk.is_all and row.until <= now:
        row.progress = 1.0
        finish(row, "completed", now)
        return None
    if chunk.examined == 0:
        return SETTLING_SECONDS
    return 0.0 if row.dry_run else len(chunk.event_ids) / row.rate_per_second


async def _is_full(session: AsyncSession, endpoint: EndpointRow) -> bool:
    values = {"endpoint_id": to_uuid(endpoint.id), "rows_max": WAITING_MAX}
    return int((await session.execute(_WAITING, values)).scalar_one()) >= WAITING_MAX


async def _read_chunk(session: AsyncSession, row: ReplayRow, endpoint: EndpointRow) -> _Chunk:
    values: dict[str, object] = {
        "endpoint_id": to_uuid(row.endpoint_id),
        "first": first_id_at(row.since),
        "last": first_id_at(row.until),
        "after_position": row.after_position,
    }
    if row.kind == "failed":
        rows = (await session.execute(_FAILED, {**values, "after_event_id": row.after_event_id})).all()
    else:
        values |= {"tenant_id": to_uuid(row.tenant_id), "livemode": row.livemode}
        rows = (await session.execute(_EVENTS, values)).all()
    room = EXAMINED_MAX if row.dry_run else max(1, int(row.rate_per_second * STEP_SECONDS))
    taken = _take(rows, row, endpoint, room)
    return _Chunk(
        examined=len(taken),
        last=taken[-1] if taken else None,
        event_ids=[one.event_id for one in taken if _is_selected(one, row, endpoint)],
        is_all=len(taken) == len(rows) < EXAMINED_MAX,
    )


def _take(rows: Sequence[Row[Any]], row: ReplayRow, endpoint: EndpointRow, room: int) -> list[Row[Any]]:
    """The rows up to the first one that is not settled, with at most `room` that are to be sent."""
    taken: list[Row[Any]] = []
    for one in rows:
        if not one.settled or room == 0:
            break
        room -= _is_selected(one, row, endpoint)
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
    return ("failed", "delivered") if row.kind == "filter" else ("failed",)
