"""The table of tasks, and every statement that reads or changes it.

`next_at` is the instant from which a worker may claim the task: when it is due, when a failed attempt is to be repeated, or when the
present lease ends. All instants are compared with the database's clock, so the clocks of workers do not matter.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from pydantic_core import to_json
from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Table, Text, TextClause, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from shared.tasks.kinds import Again, LeaseLost, NewTask, Task

REASON_LENGTH_MAX = 500

_SCHEDULED = "tasks_scheduled"

# Sorted, so that two transactions with several tasks in common wait for each other instead of deadlocking.
_INSERT = """
    INSERT INTO tasks (task_id, kind, key, payload, due_at, next_at)
    SELECT gen_random_uuid(), kind, key, payload::jsonb, coalesce(due_at, now()), coalesce(due_at, now())
    FROM unnest(CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:payloads AS text[]), CAST(:due_at AS timestamptz[]))
        AS task (kind, key, payload, due_at)
    ORDER BY kind, key
    ON CONFLICT (kind, key) DO
"""
_ADD = text(_INSERT + "NOTHING")
_SCHEDULE = text(
    _INSERT
    + """
    UPDATE SET payload = excluded.payload, due_at = excluded.due_at, next_at = excluded.next_at,
        attempts = 0, lease_token = NULL, set_aside_at = NULL, reason = NULL
    """
)
_CANCEL = text("DELETE FROM tasks WHERE kind = :kind AND key = ANY(CAST(:keys AS text[]))")

_SCHEDULED_KEYS = text("SELECT key FROM tasks WHERE kind = :kind AND key = ANY(CAST(:keys AS text[]))")

_NEXT = """
    SELECT wanted.kind, extract(epoch FROM next.next_at - now())::double precision AS seconds
    FROM unnest($1::text[]) AS wanted (kind)
    CROSS JOIN LATERAL (
        SELECT next_at FROM tasks WHERE kind = wanted.kind AND set_aside_at IS NULL ORDER BY next_at LIMIT 1
    ) AS next
"""
_CLAIM = text(
    """
    UPDATE tasks SET next_at = now() + make_interval(secs => :lease_seconds), attempts = attempts + 1, lease_token = :token
    WHERE task_id = ANY(ARRAY(
        SELECT due.task_id
        FROM unnest(CAST(:kinds AS text[]), CAST(:rooms AS integer[])) AS wanted (kind, room)
        CROSS JOIN LATERAL (
            SELECT task_id FROM tasks
            WHERE kind = wanted.kind AND next_at <= now() AND set_aside_at IS NULL
            ORDER BY next_at LIMIT wanted.room
            FOR UPDATE SKIP LOCKED
        ) AS due
    ))
    RETURNING task_id, kind, key, payload, due_at, attempts, now() AS claimed_at
    """
)
# This prevents deletion and other claims of the task; its own worker can still renew the lease.
_LOCK_LEASE = text("SELECT 1 FROM tasks WHERE task_id = :id AND lease_token = :token FOR KEY SHARE")
_HELD = text(
    """
    SELECT task_id FROM tasks, unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS lease (id, token)
    WHERE task_id = lease.id AND lease_token = lease.token
    """
)
# Locked rows are being changed or concluded at this moment; they are renewed the next time.
_RENEW = text(
    """
    UPDATE tasks SET next_at = now() + make_interval(secs => :lease_seconds)
    WHERE task_id = ANY(ARRAY(
        SELECT task_id FROM tasks, unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS lease (id, token)
        WHERE task_id = lease.id AND lease_token = lease.token
        FOR NO KEY UPDATE OF tasks SKIP LOCKED
    ))
    """
)
_RELEASE = text(
    """
    UPDATE tasks SET next_at = now(), attempts = attempts - 1, lease_token = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS lease (id, token)
    WHERE task_id = lease.id AND lease_token = lease.token
    """
)
_FINISH = text(
    """
    DELETE FROM tasks USING unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS lease (id, token)
    WHERE task_id = lease.id AND lease_token = lease.token
    RETURNING task_id
    """
)
_POSTPONE = text(
    """
    UPDATE tasks SET due_at = lease.until, next_at = lease.until, attempts = 0, lease_token = NULL, reason = NULL
    FROM (
        SELECT id, token, coalesce(instant, now() + delay) AS until
        FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:instants AS timestamptz[]), CAST(:delays AS interval[]))
            AS given (id, token, instant, delay)
    ) AS lease
    WHERE task_id = lease.id AND lease_token = lease.token
    RETURNING task_id
    """
)
_RETRY_LATER = text(
    """
    UPDATE tasks SET next_at = now() + make_interval(secs => :delay_seconds), lease_token = NULL, reason = :reason
    WHERE task_id = :id AND lease_token = :token
    """
)
_SET_ASIDE = text(
    """
    UPDATE tasks SET set_aside_at = now(), lease_token = NULL, reason = :reason
    WHERE task_id = :id AND lease_token = :token
    RETURNING task_id
    """
)

_PAYLOADS = text("SELECT payload FROM tasks WHERE kind = ANY(CAST(:kinds AS text[]))")
_LOCK_PAYLOADS = text(
    """
    SELECT task_id, key, payload FROM tasks
    WHERE kind = ANY(CAST(:kinds AS text[])) AND task_id > :after ORDER BY task_id LIMIT :rows_max FOR NO KEY UPDATE
    """
)
_SET_PAYLOADS = text(
    """
    UPDATE tasks SET payload = given.payload::jsonb
    FROM unnest(CAST(:ids AS uuid[]), CAST(:payloads AS text[])) AS given (id, payload) WHERE task_id = given.id
    """
)
_COUNT_SET_ASIDE = text("SELECT kind, count(*) AS tasks FROM tasks WHERE set_aside_at IS NOT NULL GROUP BY kind")
_LIST = text(
    """
    SELECT task_id AS id, kind, key, payload, due_at, next_at, attempts, lease_token IS NOT NULL AS leased, set_aside_at, reason
    FROM tasks
    WHERE (CAST(:kind AS text) IS NULL OR kind = :kind) AND (NOT :only_set_aside OR set_aside_at IS NOT NULL)
    ORDER BY due_at, task_id LIMIT :rows_max
    """
)
_RETRY = text(
    """
    UPDATE tasks SET next_at = now(), attempts = 0, set_aside_at = NULL
    WHERE set_aside_at IS NOT NULL AND (CAST(:kind AS text) IS NULL OR kind = :kind)
        AND (CAST(:ids AS uuid[]) IS NULL OR task_id = ANY(CAST(:ids AS uuid[])))
    RETURNING task_id
    """
)


def add_tables(metadata: MetaData) -> None:
    """Make the table of tasks part of a service's own metadata."""
    table = Table(
        "tasks",
        metadata,
        Column("task_id", Uuid, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("payload", JSONB, nullable=False),
        Column("due_at", DateTime(timezone=True), nullable=False),
        Column("next_at", DateTime(timezone=True), nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("lease_token", Uuid),
        Column("set_aside_at", DateTime(timezone=True)),
        Column("reason", Text),
        UniqueConstraint("kind", "key"),
    )
    Index("ix_tasks_next", table.c.kind, table.c.next_at, postgresql_where=text("set_aside_at IS NULL"))
    Index("ix_tasks_set_aside", table.c.kind, postgresql_where=text("set_aside_at IS NOT NULL"))


async def schedule(session: AsyncSession, tasks: Sequence[NewTask]) -> None:
    """Write these tasks; each replaces the present task of its kind and key, even while it is attempted, and begins at attempt 1."""
    await _write(session, _SCHEDULE, tasks)


async def add(session: AsyncSession, tasks: Sequence[NewTask]) -> None:
    """Write those of these tasks whose kind and key have none yet."""
    await _write(session, _ADD, tasks)


async def cancel(session: AsyncSession, kind: str, keys: Iterable[str]) -> None:
    """Remove these tasks. An attempt that is under way is not recorded."""
    await session.execute(_CANCEL, {"kind": kind, "keys": sorted(keys)})


async def scheduled(session: AsyncSession, kind: str, keys: Iterable[str]) -> set[str]:
    """Those of these keys that have a task of this kind, also one that was set aside."""
    return set((await session.execute(_SCHEDULED_KEYS, {"kind": kind, "keys": sorted(keys)})).scalars())


async def require_lease(session: AsyncSession, task: Task) -> None:
    """Raise `LeaseLost` unless the lease is still held; it then is until this transaction ends.

    For attempts that write in transactions of their own. Call it after the rows of the service were locked, like everybody who touches a
    task.
    """
    if (await session.execute(_LOCK_LEASE, {"id": task.id, "token": task.lease_token})).first() is None:
        raise LeaseLost


def take_scheduled(session: AsyncSession) -> bool:
    """True if this transaction has written tasks. Removes the mark."""
    return bool(session.info.pop(_SCHEDULED, False))


async def seconds_to_next(driver: asyncpg.Connection, kinds: Iterable[str]) -> dict[str, float]:
    """For each kind that has a task: the seconds until the first may be claimed, negative when that instant has passed."""
    return dict(await driver.fetch(_NEXT, list(kinds)))


async def claim(session: AsyncSession, rooms: Mapping[str, int], lease_seconds: float) -> list[Task]:
    """Claim due tasks, those first that have waited longest: of each kind at most so many."""
    token = uuid4()
    values = {
        "kinds": list(rooms),
        "rooms": list(rooms.values()),
        "lease_seconds": lease_seconds,
        "token": token,
    }
    rows = await session.execute(_CLAIM, values)
    return [
        Task(row.task_id, row.kind, row.key, row.payload, row.due_at, row.attempts, row.claimed_at, token)
        for row in rows
    ]


async def held(session: AsyncSession, tasks: Iterable[Task]) -> set[UUID]:
    """The ids of those of these tasks whose lease is still held."""
    return set((await session.execute(_HELD, _leases(tasks))).scalars())


async def renew(session: AsyncSession, tasks: Iterable[Task], lease_seconds: float) -> set[UUID]:
    """Renew these leases; returns the ids of those that are still held."""
    leases = _leases(tasks)
    await session.execute(_RENEW, leases | {"lease_seconds": lease_seconds})
    return set((await session.execute(_HELD, leases)).scalars())


async def release(session: AsyncSession, tasks: Iterable[Task]) -> None:
    """Give these tasks back, as if they had not been claimed."""
    await session.execute(_RELEASE, _leases(tasks))


async def conclude(session: AsyncSession, tasks: Sequence[Task], again: Mapping[UUID, Again]) -> None:
    """Remove these tasks, or set those of `again` for their next instant. Raises `LeaseLost` if one is no longer held."""
    done = [task for task in tasks if task.id not in again]
    later = [task for task in tasks if task.id in again]
    concluded = 0
    if done:
        concluded += len((await session.execute(_FINISH, _leases(done))).all())
    if later:
        until = [again[task.id] for task in later]
        values = {
            "instants": [one if isinstance(one, datetime) else None for one in until],
            "delays": [one if isinstance(one, timedelta) else None for one in until],
        }
        concluded += len((await session.execute(_POSTPONE, _leases(later) | values)).all())
    if concluded != len(tasks):
        raise LeaseLost


async def retry_later(session: AsyncSession, task: Task, reason: str, delay_seconds: float) -> None:
    """Store why an attempt has failed, and attempt it again after this delay. Nothing changes when the lease was lost."""
    values = {"id": task.id, "token": task.lease_token, "reason": reason, "delay_seconds": delay_seconds}
    await session.execute(_RETRY_LATER, values)


async def set_aside(session: AsyncSession, task: Task, reason: str) -> None:
    """Stop attempting this task until an operator retries it. Raises `LeaseLost`."""
    values = {"id": task.id, "token": task.lease_token, "reason": reason}
    if (await session.execute(_SET_ASIDE, values)).first() is None:
        raise LeaseLost


async def count_set_aside(session: AsyncSession) -> dict[str, int]:
    """How many tasks of each kind are set aside."""
    return {row.kind: row.tasks for row in await session.execute(_COUNT_SET_ASIDE)}


async def list_tasks(
    session: AsyncSession, *, kind: str | None, only_set_aside: bool, rows_max: int
) -> list[dict[str, Any]]:
    """Tasks in the order of their instants, as an operator sees them."""
    rows = await session.execute(_LIST, {"kind": kind, "only_set_aside": only_set_aside, "rows_max": rows_max})
    return [dict(row) for row in rows.mappings()]


async def retry(session: AsyncSession, *, ids: Sequence[UUID] | None = None, kind: str | None = None) -> int:
    """Make tasks that were set aside due now, with all their attempts; returns how many. Without `ids`: all, or those of the kind."""
    values = {"ids": None if ids is None else list(ids), "kind": kind}
    return len((await session.execute(_RETRY, values)).all())


async def _write(session: AsyncSession, statement: TextClause, tasks: Sequence[NewTask]) -> None:
    if not tasks:
        return
    values = {
        "kinds": [task.kind for task in tasks],
        "keys": [task.key for task in tasks],
        "payloads": [to_json(task.payload).decode() for task in tasks],
        "due_at": [task.due_at for task in tasks],
    }
    # What the session has pending comes first: rows of the service are locked before any task is.
    await session.flush()
    await session.execute(statement, values)
    session.info[_SCHEDULED] = True


def _leases(tasks: Iterable[Task]) -> dict[str, Any]:
    leased = list(tasks)
    return {"ids": [task.id for task in leased], "tokens": [task.lease_token for task in leased]}


async def payloads(session: AsyncSession, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The payloads of all tasks of these kinds."""
    return list((await session.execute(_PAYLOADS, {"kinds": list(kinds)})).scalars())


async def renew_payloads(
    session: AsyncSession,
    kinds: Sequence[str],
    renew: Callable[[str, dict[str, Any]], dict[str, Any] | None],
    *,
    after: UUID,
    rows_max: int,
) -> tuple[int, UUID | None]:
    """Have `renew` make new payloads of the tasks of these kinds from their keys and payloads; None: it stays as it is.

    Takes `rows_max` tasks behind `after`; returns how many were renewed, and the last of them, or None when no more follow. An attempt that
    is under way goes on with the payload that it has read.
    """
    rows = (await session.execute(_LOCK_PAYLOADS, {"kinds": list(kinds), "after": after, "rows_max": rows_max})).all()
    renewed = {row.task_id: new for row in rows if (new := renew(row.key, row.payload)) is not None}
    if renewed:
        payloads = [json.dumps(payload, ensure_ascii=False) for payload in renewed.values()]
        await session.execute(_SET_PAYLOADS, {"ids": list(renewed), "payloads": payloads})
    return len(renewed), rows[-1].task_id if len(rows) == rows_max else None
