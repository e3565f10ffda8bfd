"""Imports and their leases: which worker handles an import, and until when.

A worker holds the lease of an import for a short turn, so that a small import does not wait for a large one. Each transaction writes
results together with the position reached, and only while the lease is held: a worker that dies or is slow neither loses nor repeats a row.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.file_formats import Format
from jobs.imports.queries import get_row, view, visible_to
from jobs.imports.schemas import Import
from jobs.imports.tables import ImportReferenceRow, ImportRow, PieceRow
from shared.access import authorization
from shared.access.principals import ADMINISTRATION, Caller, Principal, RouteAccess
from shared.errors import Conflict, WaybillError

PERMISSION = "orders.jobs.write"
LEASE_SECONDS = 10
"""Seconds after which another worker can claim the import, unless the lease is renewed."""
ABANDONED_HOURS = 1
"""Hours without a new piece after which a file is deleted."""
KEPT_DAYS = 90
"""Days after which an ended import is deleted."""
STALE_DELETED_MAX = 10
"""Imports deleted by one statement."""
_ROUTE = RouteAccess("requires", PERMISSION, ADMINISTRATION | {"pair"})
_UNFINISHED = ("queued", "running")
_WORK_ANNOUNCED = "imports_announced"

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
)


class LeaseLost(Exception):
    """This worker no longer holds the lease: the import was cancelled, or another worker has claimed it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An import that a worker holds, as it was when the turn began."""

    row: ImportRow
    token: UUID

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def format(self) -> Format:
        return "csv" if self.row.format == "csv" else "ndjson"

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


async def cancel(session: AsyncSession, caller: Caller, import_id: str) -> Import:
    """Cancel an import. The jobs that it has created stay. Raises `NotFound`, or `Conflict` if it has ended in another way."""
    row = await get_row(session, visible_to(caller).with_for_update(), import_id)
    if row.status in _UNFINISHED:
        await end_import(session, row, "cancelled")
    elif row.status != "cancelled":
        raise Conflict(f"this import has {row.status}", code="import_ended", current_status=row.status)
    return view(row)


def announce_work(session: AsyncSession) -> None:
    """Mark this transaction as one that queued an import, so that the worker of this process starts after the commit."""
    session.info[_WORK_ANNOUNCED] = True


def take_announcement(session: AsyncSession) -> bool:
    """True if the transaction was marked by `announce_work`. Removes the mark."""
    return bool(session.info.pop(_WORK_ANNOUNCED, False))


async def claim(session: AsyncSession) -> Lease | None:
    """Take the lease of the import that has waited longest for a turn; None if no import waits."""
    free = or_(col(ImportRow.leased_until).is_(None), col(ImportRow.leased_until) < func.now())
    due = (
        select(ImportRow)
        .where(col(ImportRow.status).in_(_UNFINISHED), col(ImportRow.turn_at) <= func.now(), free)
        .order_by(col(ImportRow.turn_at), col(ImportRow.id))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = (await session.execute(due)).scalar_one_or_none()
    if row is None:
        return None
    token = uuid4()
    row.status = "running"
    row.started_at = row.started_at or datetime.now(UTC)
    row.lease_token = token
    await _renew(session, row)
    return Lease(row, token)


async def lock_for_update(session: AsyncSession, lease: Lease) -> ImportRow:
    """Lock the import of a lease for a change, and renew the lease. Raises `LeaseLost`."""
    wanted = select(ImportRow).where(col(ImportRow.id) == lease.id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None or row.lease_token != lease.token or row.status != "running":
        raise LeaseLost
    await _renew(session, row)
    return row


async def release(session: AsyncSession, lease: Lease, *, delay_seconds: float, failed: bool) -> None:
    """Release the lease. The next turn comes after at least `delay_seconds`. Does nothing if the lease is no longer held."""
    leased = update(ImportRow).where(
        col(ImportRow.id) == lease.id, col(ImportRow.lease_token) == lease.token, col(ImportRow.status) == "running"
    )
    turn_at = func.now() + timedelta(seconds=delay_seconds)
    failures = col(ImportRow.failures) + int(failed)
    await session.execute(leased.values(lease_token=None, leased_until=None, turn_at=turn_at, failures=failures))


async def _renew(session: AsyncSession, row: ImportRow) -> None:
    # The clock of the database, since clocks of workers can differ.
    renewed = update(ImportRow).where(col(ImportRow.id) == row.id)
    await session.flush()
    await session.execute(renewed.values(leased_until=func.now() + timedelta(seconds=LEASE_SECONDS)))


async def end_import(session: AsyncSession, row: ImportRow, status: str, reason: WaybillError | None = None) -> None:
    """Set the final status of an import and delete its file. Its errors stay."""
    row.status = status
    row.finished_at = datetime.now(UTC)
    row.lease_token = row.leased_until = None
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
