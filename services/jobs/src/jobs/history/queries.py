"""List the changes of a job, oldest first."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.history.schemas import JobHistoryEntry
from jobs.job_store import HistoryRow, require_job
from shared.access.principals import Caller
from shared.api import Page, Paging, page


async def list_events(session: AsyncSession, caller: Caller, job_id: str, paging: Paging) -> Page[JobHistoryEntry]:
    """A page of the job's history, oldest first. Raises `NotFound`."""
    await require_job(session, caller, job_id)
    return await page(
        session,
        select(HistoryRow).where(col(HistoryRow.job_id) == job_id),
        paging,
        by=(col(HistoryRow.sequence),),
        view=_view,
        descending=False,
    )


def _view(row: HistoryRow) -> JobHistoryEntry:
    return JobHistoryEntry(
        id=row.event_id,
        type=row.type,
        sequence=row.sequence,
        actor=row.actor,
        action_id=row.action_id,
        changed_fields=row.changed_fields,
        changes=row.changes,
        created_at=row.occurred_at,
    )
