"""The history of a job: what each of its changes did, who caused it, and the event that told of it."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.models.changes import JobHistoryEntry
from jobs.models.tables import HistoryRow
from jobs.rows import require_job
from shared.access.principals import Caller
from shared.api import Page, Paging, page


async def listing(session: AsyncSession, caller: Caller, job_id: str, paging: Paging) -> Page[JobHistoryEntry]:
    """A page of the job's history, oldest first. Raises `NotFound`."""
    await require_job(session, caller, job_id)
    return await page(
        session,
        select(HistoryRow).where(col(HistoryRow.job_id) == job_id),
        paging,
        by=(col(HistoryRow.sequence),),
        view=_entry,
        descending=False,
    )


def _entry(row: HistoryRow) -> JobHistoryEntry:
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
