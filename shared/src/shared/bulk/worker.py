"""Carries bulk commands out: the worker takes one step after the other, each for some records.

A dry run takes the same steps in transactions that are rolled back, so that it refuses what the command would refuse.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access import authorization
from shared.access.authentication import Access
from shared.access.principals import Caller, Principal, RouteAccess
from shared.api import Paging
from shared.audit import Actor, Origin
from shared.bulk.operations import Bulk, Matching, finish
from shared.bulk.schemas import REFUSALS_SHOWN_MAX, BulkRefusal
from shared.bulk.tables import BulkRow
from shared.errors import Forbidden, PaymentRequired, Unauthenticated, Unavailable, WaybillError
from shared.messaging import outbox
from shared.postgres.database import Database
from shared.tasks import Task, TaskKind, require_lease

STEP_ROWS = 50
"""Records that one step changes: they are locked for so long."""
FAILURES_MAX = 200
"""Failed steps in a row after which a bulk command fails: with the delays between them, some hours in which the cause can be repaired."""
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 60.0
KEPT_DAYS = 90
PURGE_SECONDS = 3600.0
PURGED_MAX = 1_000


class _DryRun(Exception):
    """Rolls a step back."""


@dataclass
class _Step:
    """What came of one step."""

    changed: int = 0
    unchanged: int = 0
    refusals: list[BulkRefusal] = field(default_factory=list)
    cursor: str | None = None
    """None: there are no further records."""


class BulkWorker:
    """The worker of one process, for the bulk commands on one kind of record."""

    def __init__(self, database: Database, access: Access, bulk: Bulk):
        self._database = database
        self._access = access
        self._bulk = bulk

    def task_kind(self) -> TaskKind:
        """How the tasks of bulk commands are worked on: one step at a time in each process."""
        return TaskKind(
            self._bulk.name,
            attempt=self._take_step,
            give_up=self._give_up,
            at_once=1,
            attempts_max=FAILURES_MAX,
            delay_seconds_min=DELAY_SECONDS_MIN,
            delay_seconds_max=DELAY_SECONDS_MAX,
        )

    async def purge(self) -> None:
        """Delete bulk commands that ended `KEPT_DAYS` ago."""
        table = self._bulk.table
        ended = col(table.finished_at) < datetime.now(UTC) - timedelta(days=KEPT_DAYS)
        async with self._database.transaction() as session:
            old = select(col(table.id)).where(ended).limit(PURGED_MAX)
            await session.execute(delete(table).where(col(table.id).in_(old)))

    async def _take_step(self, task: Task) -> timedelta | None:
        """Take one step; returns when the next one is due, None after the last."""
        try:
            async with self._database.searching() as session:
                page = await self._list(session, task)
            if page is None:
                return None
            step = _Step(cursor=page.next_cursor)
            try:
                async with self._database.transaction() as session:
                    row = await self._lock(session, task)
                    if row is None:
                        return None
                    await self._run(session, row, page, step)
                    if row.dry_run:
                        raise _DryRun
                    return _note(row, step)
            except _DryRun:
                async with self._database.transaction() as session:
                    row = await self._lock(session, task)
                    return None if row is None else _note(row, step)
        except (Unauthenticated, Forbidden, PaymentRequired) as refusal:
            async with self._database.transaction() as session:
                if (row := await self._lock(session, task)) is not None:
                    _fail(row, refusal.problem_code)
            return None

    async def _list(self, session: AsyncSession, task: Task) -> Matching | None:
        """The next records that match; None if the bulk command has ended."""
        row = (await session.execute(self._running(task))).scalar_one_or_none()
        if row is None:
            return None
        paging = Paging(limit=STEP_ROWS, cursor=row.cursor, scope=row.id, secret=row.id.encode())
        return await self._bulk.list_matching(session, await self._actor(session, row), row, paging)

    async def _run(self, session: AsyncSession, row: BulkRow, page: Matching, step: _Step) -> None:
        """Apply the command to these records."""
        actor = await self._actor(session, row)
        for record_id in page.ids:
            published = len(outbox.pending(session))
            try:
                async with session.begin_nested():
                    await self._bulk.apply(session, actor, row, record_id)
            except Unavailable:
                raise
            except WaybillError as refusal:
                step.refusals.append(BulkRefusal(id=record_id, code=refusal.problem_code, detail=refusal.detail))
            else:
                is_changed = len(outbox.pending(session)) > published
                step.changed += is_changed
                step.unchanged += not is_changed

    async def _actor(self, session: AsyncSession, row: BulkRow) -> Actor:
        """Who asked for it, with the permissions of now. Raises `Unauthenticated`, `Forbidden`, `PaymentRequired`."""
        caller = await self._access.recheck(session, _caller_of(row))
        self._bulk.require(caller, row.command)
        return Actor(caller, Origin(row.address, row.request_id))

    def _running(self, task: Task) -> Select[Any]:
        table = self._bulk.table
        return select(table).where(col(table.id) == task.key, col(table.status) == "running")

    async def _lock(self, session: AsyncSession, task: Task) -> BulkRow | None:
        """The bulk command of a task, locked; None if it has ended. Raises `LeaseLost`."""
        row: BulkRow | None = (await session.execute(self._running(task).with_for_update())).scalar_one_or_none()
        if row is not None:
            await require_lease(session, task)
        return row

    async def _give_up(self, session: AsyncSession, task: Task, reason: str) -> None:
        row = (await session.execute(self._running(task).with_for_update())).scalar_one_or_none()
        if row is not None:
            _fail(row, "gave_up")


def _fail(row: BulkRow, code: str) -> None:
    finish(row, "failed", code)
    row.version += 1


def _note(row: BulkRow, step: _Step) -> timedelta | None:
    """Add a step to the progress; returns when the next one is due."""
    row.matched += step.changed + step.unchanged + len(step.refusals)
    row.changed += step.changed
    row.unchanged += step.unchanged
    row.refused += len(step.refusals)
    room = REFUSALS_SHOWN_MAX - len(row.refusals)
    row.refusals = [*row.refusals, *(one.model_dump(mode="json") for one in step.refusals[:room])]
    row.cursor = step.cursor
    row.version += 1
    row.updated_at = datetime.now(UTC)
    if step.cursor is None:
        finish(row, "completed")
        return None
    return timedelta()


def _caller_of(row: BulkRow) -> Caller:
    """The caller that requested it, with the fields that `Access.recheck` needs."""
    principal = Principal(
        credential_id=row.credential_id,
        digests=((row.credential_digest, 0, None),) if row.credential_digest else (),
        subject_id=row.subject_id,
        tenant_id=row.tenant_id,
    )
    via: Any = row.via
    return authorization.caller_for(via, principal, livemode=row.livemode, route=RouteAccess("authenticated"))
