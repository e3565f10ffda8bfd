"""Get one job, and find the job that has a reference."""

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.job_store import Job, JobRow, job_not_found, visible_to, with_actions
from jobs.jobs import rules
from shared.access.principals import Caller


async def get(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """One job. Raises `NotFound`, also if the caller may not see it."""
    row = (await session.execute(visible_to(caller).where(col(JobRow.id) == job_id))).scalar_one_or_none()
    if row is None:
        raise job_not_found()
    return (await with_actions(session, [row]))[0]


async def reference_taken(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str
) -> rules.ReferenceTaken | None:
    """The refusal if the merchant has a job with this reference; else None."""
    same = visible_to(caller).where(col(JobRow.merchant_id) == merchant_id, col(JobRow.reference_id) == reference_id)
    existing = (await session.execute(same)).scalar_one_or_none()
    return None if existing is None else rules.ReferenceTaken(reference_id, existing.id)
