"""List jobs and actions by conditions and order, page by page.

A page is read by the driver, with statements that are put together as text, and its rows become documents of the API without models in
between: lists are asked for more often than anything else.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job_store import ACTION_COLUMNS, JOB_COLUMNS, NOT_DELETED, action_document, documents_with_actions
from jobs.search.planner import choose_axis, plan_parts
from jobs.search.query import SCHEDULED, SearchQuery, actions_query, jobs_query, matching
from jobs.search.schemas import ActionFilters, Filters, JobFilters
from shared.access.principals import Caller
from shared.api import Documents, Paging, page_of_documents
from shared.errors import BadRequest, invalid
from shared.ids import from_uuid, to_uuid
from shared.postgres.driver_connection import driver_of
from shared.postgres.fragments import Sql, all_of, joined, sql


async def list_jobs(session: AsyncSession, caller: Caller, filters: JobFilters, paging: Paging) -> Documents:
    """A page of the jobs that match. Raises `Invalid` if a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    query = jobs_query(caller, filters)
    driver, rows, shaped_by = await _rows(session, caller, query, filters, paging, JOB_COLUMNS)
    shown = await documents_with_actions(driver, rows[: paging.limit])
    return page_of_documents(rows, shown, paging, position=_position("job", filters.sort), filters=shaped_by)


async def list_actions(session: AsyncSession, caller: Caller, filters: ActionFilters, paging: Paging) -> Documents:
    """A page of the actions that match. Raises `Invalid` if a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    query = actions_query(caller, filters)
    _, rows, shaped_by = await _rows(session, caller, query, filters, paging, ACTION_COLUMNS)
    shown = [action_document(row) for row in rows[: paging.limit]]
    return page_of_documents(rows, shown, paging, position=_position("act", filters.sort), filters=shaped_by)


def _require_own_scope(caller: Caller, filters: Filters) -> None:
    if filters.merchant_id is not None and caller.row_scope == "own":
        message = "merchants see what is their own: this filter is for administrators"
        raise invalid(filters.violation("merchant_id", "not_allowed", message))


async def _rows(
    session: AsyncSession,
    caller: Caller,
    query: SearchQuery,
    filters: JobFilters | ActionFilters,
    paging: Paging,
    columns: str,
) -> tuple[asyncpg.Connection, Sequence[asyncpg.Record], list[Any]]:
    """The rows of a page and one more if there is one, the connection that read them, and the values that shaped the list."""
    order, descending = filters.sort.removeprefix("-"), filters.sort.startswith("-")
    # A cursor of one merchant's list is not valid for another merchant.
    owner = caller.subject_id if caller.row_scope == "own" else None
    shaped_by = [[owner, caller.livemode, filters.model_dump(mode="json", exclude={"limit", "cursor"})], descending]
    by = _order(order)
    position = paging.position(shaped_by)
    if position is not None and len(position) != len(by):
        raise BadRequest("the cursor was made by another version of this API", code="cursor_invalid")
    driver = await driver_of(session)
    axis = choose_axis(query, order, filters)
    await _set_plan_mode(session, driver, for_values=axis is None)
    conditions = [sql(NOT_DELETED)]
    if axis is None:
        conditions = [query.visible, *query.where, *matching([*query.tokens, *query.wide_tokens])]
    if position is not None:
        place = joined(", ", (_typed(*named) for named in zip(by, position, strict=True)))
        conditions.append(sql(f"({', '.join(by)}) {'<' if descending else '>'} ({{}})", place))
    in_order = f"ORDER BY {', '.join(f'{column} DESC' if descending else column for column in by)}"
    wanted = paging.limit + 1
    if axis is None and query.per_value is not None:
        # The identities of the first rows of each value.
        values = query.per_value
        inner = f"SELECT id FROM {query.name} WHERE {{}} AND {values.column} = each_value.value {in_order} LIMIT {{}}::integer"  # noqa: S608
        conditions.append(
            sql(
                f"id IN (SELECT first_found.id FROM unnest({{}}::{values.sql_type}[]) AS each_value (value) "  # noqa: S608 - a constant
                f"CROSS JOIN LATERAL ({inner}) AS first_found)",
                list(values.values),
                all_of(conditions),
                wanted,
            )
        )
    parts = [sql("true")]
    if axis is not None:
        # All parts at once, in one statement.
        start = None if position is None else _value(by[0], position[0])
        parts = await plan_parts(driver, query, axis, descending=descending, position=start)
    shown = (
        f"SELECT {columns}, {', '.join(f'{column} AS by_{place}' for place, column in enumerate(by))} FROM {query.name}"  # noqa: S608
    )
    statement = _of_parts(query, shown, conditions, parts, in_order, wanted)
    rows: Sequence[asyncpg.Record] = await driver.fetch(statement.numbered(), *statement.values)
    return driver, rows, shaped_by


def _of_parts(
    query: SearchQuery, shown: str, conditions: Sequence[Sql], parts: Sequence[Sql], in_order: str, count: int
) -> Sql:
    """The first rows that meet the conditions and one of the parts.

    PostgreSQL appends the rows of several parts in their order, and runs none before its rows are needed.
    """
    if query.recheck is None:
        each = [
            sql(f"{shown} WHERE {{}} {in_order} LIMIT {{}}::integer", all_of([*conditions, part]), count)
            for part in parts
        ]
        return _appended(each, count)
    # PostgreSQL does not push outer conditions into a subquery with an OFFSET: rows come in order, and only as many as needed.
    surely = [
        sql(
            f"SELECT found FROM (SELECT id AS found, terms, parts FROM {query.name} WHERE {{}} {in_order} OFFSET 0) AS candidate "  # noqa: S608
            "WHERE {} LIMIT {}::integer",
            all_of([*conditions, part]),
            query.recheck,
            count,
        )
        for part in parts
    ]
    return sql(f"{shown} WHERE {{}} AND id IN ({{}}) {in_order}", all_of(conditions), _appended(surely, count))


def _appended(statements: Sequence[Sql], count: int) -> Sql:
    if len(statements) == 1:
        return statements[0]
    each = joined(" UNION ALL ", (sql("({})", statement) for statement in statements))
    return sql("{} LIMIT {}::integer", each, count)


def _order(order: str) -> list[str]:
    if order == "scheduled_date":
        # Many jobs have one day: within it they are in the order of creation, as in the index.
        return [SCHEDULED, "created_at", "id"]
    return [order, "id"]


def _position(prefix: str, sort: str) -> Any:
    """How the position of a row is told in a cursor."""
    last = len(_order(sort.removeprefix("-"))) - 1
    places = [f"by_{place}" for place in range(last)]
    return lambda row: [*(row[place] for place in places), from_uuid(prefix, row[f"by_{last}"])]


def _typed(column: str, value: Any) -> Sql:
    """A cursor's value. Cursors are signed, so the value is one that this API wrote."""
    if column == SCHEDULED:
        # As text: the driver reads the last day of the calendar as infinity.
        return sql("{}::text::date", value)
    return sql("{}", to_uuid(value) if column == "id" else datetime.fromisoformat(value))


def _value(column: str, value: str) -> Any:
    instant = datetime.fromisoformat(value)
    return instant.date() if column == SCHEDULED else instant


async def _set_plan_mode(session: AsyncSession, driver: asyncpg.Connection, *, for_values: bool) -> None:
    """Have statements planned for their values (`for_values`), or once per connection for all values.

    Planning takes as long as executing. One plan is enough for the statements of the planner, whose form decides how they are read.
    """
    mode = "force_custom_plan" if for_values else "force_generic_plan"
    # The setting outlives the transaction, so the connection remembers it.
    known = (await session.connection()).info
    if known.get("plans") != mode:
        await driver.fetch("SELECT set_config('plan_cache_mode', $1, false)", mode)
        known["plans"] = mode
