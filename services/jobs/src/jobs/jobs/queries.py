"""Find the job that has a reference."""

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.job_store import JobRow, visible_to
from jobs.jobs import rules
from shared.access.principals import Caller


async def reference_taken(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str
) -> rules.ReferenceTaken | None:
    """The refusal if the merchant has a job with this reference; else None."""
    same = visible_to(caller).where(col(JobRow.merchant_id) == merchant_id, col(JobRow.reference_id) == reference_id)
    existing = (await session.execute(same)).scalar_one_or_none()
    return None if existing is None else rules.ReferenceTaken(reference_id, existing.id)
