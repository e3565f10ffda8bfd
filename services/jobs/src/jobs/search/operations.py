"""List jobs and actions by conditions and order, page by page."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlmodel import col

from jobs.job_store import SCHEDULED_ORDER, Action, ActionRow, Job, JobRow, not_deleted, view_action, with_actions
from jobs.search.planner import choose_axis, plan_parts
from jobs.search.query import SearchQuery, actions_query, jobs_query, matching
from jobs.search.schemas import ActionFilters, Filters, JobFilters
from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import invalid

ItemT = TypeVar("ItemT")

RowT = TypeVar("RowT", JobRow, ActionRow)


async def list_jobs(session: AsyncSession, caller: Caller, filters: JobFilters, paging: Paging) -> Page[Job]:
    """A page of the jobs that match. Raises `Invalid` if a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    rows = await _page(session, caller, jobs_query(caller, filters), filters, paging, lambda row: row)
    return Page(data=await with_actions(session, rows.data), has_more=rows.has_more, next_cursor=rows.next_cursor)


async def list_actions(session: AsyncSession, caller: Caller, filters: ActionFilters, paging: Paging) -> Page[Action]:
    """A page of the actions that match. Raises `Invalid` if a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    return await _page(session, caller, actions_query(caller, filters), filters, paging, view_action)


def _require_own_scope(caller: Caller, filters: Filters) -> None:
    if filters.merchant_id is not None and caller.row_scope == "own":
        message = "merchants see what is their own: this filter is for administrators"
        raise invalid(filters.violation("merchant_id", "not_allowed", message))


async def _page(
    session: AsyncSession,
    caller: Caller,
    query: SearchQuery[RowT],
    filters: JobFilters | ActionFilters,
    paging: Paging,
    view: Callable[[RowT], ItemT],
) -> Page[ItemT]:
    order, descending = filters.sort.removeprefix("-"), filters.sort.startswith("-")
    axis = choose_axis(query, order, filters)
    await _set_plan_mode(session, for_values=axis is None)
    if axis is None:
        conditions = matching(query.table, [*query.tokens, *query.wide_tokens])
        statement = query.visible.where(*query.where, *conditions)
    else:
        statement = not_deleted(query.table)

    async def parts(position: Any) -> AsyncGenerator[Sequence[ColumnElement[bool]], None]:
        # All parts at once: `page` makes one statement of them.
        if axis is not None:
            yield await plan_parts(session, query, axis, descending=descending, position=position)

    by: list[ColumnElement[Any] | Mapped[Any]] = [col(getattr(query.table, order)), col(query.table.id)]
    if order == "scheduled_date":
        # Many jobs have one day: within it they are in the order of creation, as in the index.
        by = [SCHEDULED_ORDER, col(query.table.created_at), col(query.table.id)]
    # A cursor of one merchant's list is not valid for another merchant.
    owner = caller.subject_id if caller.row_scope == "own" else None
    return await page(
        session,
        statement,
        paging,
        by=by,
        view=view,
        descending=descending,
        filters=[owner, caller.livemode, filters.model_dump(mode="json", exclude={"limit", "cursor"})],
        parts=None if axis is None else parts,
        expensive_filter=query.recheck,
        each=query.per_value,
    )


async def _set_plan_mode(session: AsyncSession, *, for_values: bool) -> None:
    """Have statements planned for their values (`for_values`), or once per connection for all values.

    Planning takes as long as executing. One plan is enough for the statements of the planner, whose form decides how they are read.
    """
    mode = "force_custom_plan" if for_values else "force_generic_plan"
    # The setting outlives the transaction, so the connection remembers it.
    known = (await session.connection()).info
    if known.get("plans") != mode:
        await session.execute(select(func.set_config("plan_cache_mode", mode, False)))
        known["plans"] = mode
