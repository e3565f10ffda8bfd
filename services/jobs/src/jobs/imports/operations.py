"""Imports and their turns: a worker handles an import for a short turn, so that a small import does not wait for a large one.

Each transaction writes results together with the position reached, and only while the worker holds the lease of the import's task: a
worker that dies or is slow neither loses nor repeats a row.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import notices
from jobs.imports.queries import get_row, view, visible_to
from jobs.imports.schemas import Import
from jobs.imports.tables import ImportReferenceRow, ImportRow, PieceRow
from shared import audit, live, tasks
from shared.access import authorization
from shared.access.principals import ADMINISTRATION, Caller, Principal, RouteAccess
from shared.audit import Actor
from shared.errors import Conflict, WaybillError
from shared.tasks import LeaseLost, NewTask, Task

PERMISSION = "orders.jobs.write"
IMPORT = "import"
"""The kind of the task of an import; its key is the import's id."""
ABANDONED_HOURS = 1
"""Hours without a new piece after which a file is deleted."""
KEPT_DAYS = 90
"""Days after which an ended import is deleted."""
REFUSED_ROWS_KEPT_DAYS = 7
"""Days after the end of an import for which the content of its refused rows is kept."""
STALE_DELETED_MAX = 10
"""Imports deleted by one statement."""
_ROUTE = RouteAccess("requires", PERMISSION, ADMINISTRATION | {"pair"})
_UNFINISHED = ("queued", "running")

_DELETE_STALE = (
    text(
        """
        DELETE FROM imports WHERE id IN (
            SELECT id FROM imports WHERE status = 'uploading' AND touched_at < now() - make_interval(hours => :hours)
            ORDER BY touched_at LIMIT :rows_max
        )
        """
    ).bindparams(hours=ABANDONED_HOURS, rows_max=STALE_DELETED_MAX),
    text(
        """
        DELETE FROM imports WHERE id IN (
            SELECT id FROM imports WHERE finished_at < now() - make_interval(days => :days)
            ORDER BY finished_at LIMIT :rows_max
        )
        """
    ).bindparams(days=KEPT_DAYS, rows_max=STALE_DELETED_MAX),
    text(
        """
        WITH ended AS (
            UPDATE imports SET refused_bytes = 0 WHERE id IN (
                SELECT id FROM imports WHERE refused_bytes > 0 AND finished_at < now() - make_interval(days => :days)
                ORDER BY finished_at LIMIT :rows_max
            ) RETURNING id
        )
        UPDATE import_errors SET content = NULL FROM ended WHERE import_id = ended.id AND content IS NOT NULL
        """
    ).bindparams(days=REFUSED_ROWS_KEPT_DAYS, rows_max=STALE_DELETED_MAX),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """An import whose task a worker holds, as it was when the turn began."""

    row: ImportRow
    task: Task

    @property
    def id(self) -> str:
        return self.row.id

    def caller(self) -> Caller:
        """The caller that requested the import, with the fields that `Access.recheck` needs."""
        row = self.row
        principal = Principal(
            credential_id=row.credential_id,
            digests=((row.credential_digest, 0, None),) if row.credential_digest else (),
            subject_id=row.subject_id,
            tenant_id=row.tenant_id,
        )
        via: Any = row.via
        return authorization.caller_for(via, principal, livemode=row.livemode, route=_ROUTE)


async def cancel(session: AsyncSession, actor: Actor, import_id: str) -> Import:
    """Cancel an import. The jobs that it has created stay. Raises `NotFound`, or `Conflict` if it has ended in another way."""
    row = await get_row(session, visible_to(actor.caller).with_for_update(), import_id)
    before = view(row)
    if row.status in _UNFINISHED:
        _announce(session, row)
        await end_import(session, row, "cancelled")
        await tasks.cancel(session, IMPORT, [row.id])
        audit.record(session, actor, "import.cancelled", row.id, before=before, after=view(row))
    elif row.status != "cancelled":
        raise Conflict(f"this import has {row.status}", code="import_ended", current_status=row.status)
    return view(row)


async def queue(session: AsyncSession, row: ImportRow) -> None:
    """Leave an import whose file is complete to the workers."""
    row.status = "queued"
    _announce(session, row)
    await tasks.schedule(session, [NewTask(IMPORT, row.id)])


async def begin_turn(session: AsyncSession, task: Task) -> Lease | None:
    """The import of a task, for one turn; None if it has ended. Raises `LeaseLost`."""
    wanted = select(ImportRow).where(col(ImportRow.id) == task.key).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None or row.status not in _UNFINISHED:
        return None
    await tasks.require_lease(session, task)
    if row.status != "running":
        _announce(session, row)
    row.status = "running"
    row.started_at = row.started_at or datetime.now(UTC)
    return Lease(row, task)


async def lock_for_update(session: AsyncSession, lease: Lease) -> ImportRow:
    """Lock the import of a lease for a change. Raises `LeaseLost`."""
    wanted = select(ImportRow).where(col(ImportRow.id) == lease.id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None or row.status != "running":
        raise LeaseLost
    await tasks.require_lease(session, lease.task)
    _announce(session, row)
    return row


async def give_up(session: AsyncSession, import_id: str) -> None:
    """Fail an import whose turns have failed too many times in a row."""
    wanted = select(ImportRow).where(col(ImportRow.id) == import_id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is not None and row.status in _UNFINISHED:
        _announce(session, row)
        reason = WaybillError("the import failed too many times in a row", code="gave_up")
        await end_import(session, row, "failed", reason)


async def end_import(session: AsyncSession, row: ImportRow, status: str, reason: WaybillError | None = None) -> None:
    """Set the final status of an import and delete its file. Its errors stay."""
    row.status = status
    row.finished_at = datetime.now(UTC)
    if reason is not None:
        row.reason, row.reason_code = reason.detail, reason.problem_code
    await session.flush()
    await drop_pieces(session, row.id)
    await session.execute(delete(ImportReferenceRow).where(col(ImportReferenceRow.import_id) == row.id))


async def drop_pieces(session: AsyncSession, import_id: str, *, before: int | None = None) -> None:
    """Delete the file of an import, or only its pieces before number `before`."""
    unneeded = delete(PieceRow).where(col(PieceRow.import_id) == import_id)
    await session.execute(unneeded if before is None else unneeded.where(col(PieceRow.number) < before))


async def delete_stale(session: AsyncSession) -> None:
    """Delete abandoned files and imports that ended long ago; a bounded number of each."""
    for statement in _DELETE_STALE:
        await session.execute(statement)


def _announce(session: AsyncSession, row: ImportRow) -> None:
    """Tell of a change to those to whom `visible_to` shows the import."""
    live.announce(session, live.Audience(row.tenant_id, row.livemode, row.merchant_id), f"{notices.IMPORTS}/{row.id}")
