"""Lists of jobs."""

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.models.filters import JobFilters
from jobs.models.inputs import Job
from jobs.models.tables import JobRow
from jobs.rows import visible, with_actions
from shared.auth.decisions import Caller
from shared.errors import Invalid, Violation
from shared.http import Page, Paging, page


async def listing(session: AsyncSession, caller: Caller, filters: JobFilters, paging: Paging) -> Page[Job]:
    """A page of jobs, newest first. Raises `Invalid` when a merchant filters by merchant."""
    if filters.merchant_id is not None and caller.row_scope == "own":
        message = "merchants see their own jobs: this filter is for administrators"
        raise Invalid("the request is not valid: see errors", Violation("", "not_allowed", message, "merchant_id"))
    # A cursor is good only for who got it: a position among one merchant's jobs means nothing among another's.
    whose = caller.subject_id if caller.row_scope == "own" else None
    rows = await page(
        session,
        _filtered(visible(caller), filters),
        paging,
        by=(col(JobRow.created_at), col(JobRow.id)),
        view=lambda row: row,
        filters=[whose, caller.livemode, filters.model_dump(mode="json")],
    )
    return Page(data=await with_actions(session, rows.data), has_more=rows.has_more, next_cursor=rows.next_cursor)


def _filtered(jobs: Select[JobRow], filters: JobFilters) -> Select[JobRow]:
    if filters.status:
        jobs = jobs.where(col(JobRow.status).in_(filters.status))
    if filters.type:
        jobs = jobs.where(col(JobRow.type).in_(filters.type))
    if filters.location_id:
        jobs = jobs.where(col(JobRow.location_id).in_(filters.location_id))
    if filters.reference_id is not None:
        jobs = jobs.where(col(JobRow.reference_id) == filters.reference_id)
    if filters.merchant_id is not None:
        jobs = jobs.where(col(JobRow.merchant_id) == filters.merchant_id)
    if filters.created_gte is not None:
        jobs = jobs.where(col(JobRow.created_at) >= filters.created_gte)
    if filters.created_lte is not None:
        jobs = jobs.where(col(JobRow.created_at) <= filters.created_lte)
    return jobs
