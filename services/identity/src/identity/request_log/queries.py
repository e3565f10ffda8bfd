"""Lists failed requests, and counts requests by the hour."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.request_log import rules
from identity.request_log.schemas import FailedRequest, RequestCounts, RequestFilters, RequestHour
from identity.request_log.tables import FailedRequestRow, RequestCountRow
from shared.api import Page, Paging, page, where_equal
from shared.audit import Actor

RowT = TypeVar("RowT")

DAY_HOURS = 24
_OF_MERCHANTS = "acct_"
_CLASS_SIZE = 100


async def list_failed(
    session: AsyncSession, actor: Actor, filters: RequestFilters, paging: Paging
) -> Page[FailedRequest]:
    """The failed requests that the actor may see, newest first."""
    row = FailedRequestRow
    equal = {
        col(row.credential_id): filters.credential_id,
        col(row.service): filters.service,
        col(row.code): filters.code,
    }
    statement = where_equal(_seen_by(select(row), actor, row), equal)
    if filters.status_class is not None:
        first = int(filters.status_class[0]) * _CLASS_SIZE
        statement = statement.where(col(row.status) >= first, col(row.status) < first + _CLASS_SIZE)
    if filters.created_at_gte is not None:
        statement = statement.where(col(row.at) >= filters.created_at_gte)
    if filters.created_at_lte is not None:
        statement = statement.where(col(row.at) <= filters.created_at_lte)
    return await page(
        session,
        statement,
        paging,
        by=(col(row.at), col(row.failed_request_id)),
        view=view,
        filters=[asdict(filters), actor.id, _sees(actor)],
    )


async def count_by_hour(
    session: AsyncSession, actor: Actor, now: datetime, *, credential_id: str | None, service: str | None, hours: int
) -> RequestCounts:
    """The requests that the actor may see, in each of the last hours."""
    row, wanted = RequestCountRow, rules.hours_until(now, hours)
    equal = {col(row.credential_id): credential_id, col(row.service): service}
    statement = where_equal(_seen_by(select(row), actor, row), equal).where(col(row.hour) >= wanted[0])
    by_hour = statement.with_only_columns(col(row.hour), func.sum(col(row.calls)), func.sum(col(row.errors)))
    counted = await session.execute(by_hour.group_by(col(row.hour)))
    found = {hour: (int(calls), int(errors)) for hour, calls, errors in counted}
    calls, errors = rules.sums(found)
    each = [(hour, *found.get(hour, (0, 0))) for hour in wanted]
    return RequestCounts(
        calls=calls,
        errors=errors,
        hours=[RequestHour(hour=hour, calls=called, errors=failed) for hour, called, failed in each],
    )


async def counts_of(
    session: AsyncSession, tenant_id: str, credential_ids: Sequence[str], now: datetime
) -> dict[str, tuple[int, int]]:
    """Calls and errors of the last 24 hours, by the credentials that have any."""
    row = RequestCountRow
    statement = (
        select(col(row.credential_id), func.sum(col(row.calls)), func.sum(col(row.errors)))
        .where(
            col(row.tenant_id) == tenant_id,
            col(row.credential_id).in_(credential_ids),
            col(row.hour) >= rules.hours_until(now, DAY_HOURS)[0],
        )
        .group_by(col(row.credential_id))
    )
    return {name: (int(calls), int(errors)) for name, calls, errors in await session.execute(statement)}


async def most_calls(
    session: AsyncSession, now: datetime, *, livemode: bool, hours: int, limit: int
) -> list[tuple[str, int, int]]:
    """The tenants with most calls in the last hours, with their calls and errors; without `livemode` those of test mode."""
    row, calls = RequestCountRow, func.sum(col(RequestCountRow.calls))
    statement = (
        select(col(row.tenant_id), calls, func.sum(col(row.errors)))
        .where(col(row.hour) >= rules.hours_until(now, hours)[0])
        .group_by(col(row.tenant_id))
        .order_by(calls.desc(), col(row.tenant_id))
        .limit(limit)
    )
    if not livemode:
        statement = statement.where(col(row.livemode).is_(False))
    return [(tenant_id, int(called), int(failed)) for tenant_id, called, failed in await session.execute(statement)]


def view(row: FailedRequestRow) -> FailedRequest:
    """A failed request as the API shows it."""
    return FailedRequest(
        id=row.failed_request_id,
        created_at=row.at,
        service=row.service,
        credential_id=row.credential_id,
        subject_id=row.subject_id,
        livemode=row.livemode,
        method=row.method,
        path=row.path,
        status=row.status,
        code=row.code,
        request_id=row.request_id,
        milliseconds=row.milliseconds,
    )


def _sees(actor: Actor) -> tuple[bool, bool]:
    return actor.caller.may("settings.audit.read"), actor.caller.may("settings.merchants.read")


def _seen_by(statement: Select[RowT], actor: Actor, row: type[FailedRequestRow | RequestCountRow]) -> Select[RowT]:
    """Who reads the audit trail sees all of the tenant, who reads merchants sees theirs; everybody sees their own."""
    statement = rows.visible_to(statement, actor, row.tenant_id, row.livemode)
    everything, of_merchants = _sees(actor)
    if everything:
        return statement
    own = col(row.subject_id) == actor.id
    return statement.where(or_(own, col(row.credential_id).startswith(_OF_MERCHANTS)) if of_merchants else own)
