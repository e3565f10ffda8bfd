"""Count the jobs of a bounded time range, in one pass."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, DateTime, Integer, Select, any_, cast, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.job_store import SCHEDULED_ORDER, JobRow, JobStatus, JobType, visible_to
from jobs.reports.schemas import RANGE_DAYS_DEFAULT, RANGE_DAYS_MAX, DayCount, JobSummary, JobSummaryFilters
from shared.access.principals import Caller
from shared.errors import Invalid, Violation, invalid
from shared.postgres.column_types import TypedId

_DAY = timedelta(days=1)
_DEFAULT = timedelta(days=RANGE_DAYS_DEFAULT)
_LONGEST = timedelta(days=RANGE_DAYS_MAX)


@dataclass(frozen=True, slots=True)
class _Range:
    """The jobs that are counted, and the day of each: `place` is its index in `days`."""

    since: datetime | date
    until: datetime | date
    condition: ColumnElement[bool]
    place: ColumnElement[int]
    days: list[date]


async def summarize_jobs(session: AsyncSession, caller: Caller, filters: JobSummaryFilters) -> JobSummary:
    """Count jobs by status, type, location and day. Raises `Invalid` if the range is empty, too long or given twice."""
    by_schedule = filters.scheduled_date_gte is not None or filters.scheduled_date_lte is not None
    timezone = filters.timezone or "UTC"
    try:
        counted = _scheduled(filters) if by_schedule else _created(filters, ZoneInfo(timezone), datetime.now(UTC))
    except OverflowError as error:
        named = "scheduled_date_gte" if by_schedule else "created_gte"
        raise _range_refused(named, "range_unknown", "the range is outside the calendar") from error
    found: dict[str, dict[Any, int]] = {"status": {}, "type": {}, "location_id": {}, "place": {}}
    for row in await session.execute(_counts(caller, filters, counted)):
        # GROUPING SETS: exactly one of the four columns is not null, and the row counts by it.
        name = next(name for name in found if getattr(row, name) is not None)
        found[name][getattr(row, name)] = row.jobs
    days = found["place"]
    return JobSummary(
        counted_by="scheduled_date" if by_schedule else "created_at",
        since=counted.since,
        until=counted.until,
        timezone=timezone,
        total=sum(found["status"].values()),
        by_status={status: found["status"].get(status, 0) for status in get_args(JobStatus)},
        by_type={kind: found["type"].get(kind, 0) for kind in get_args(JobType)},
        by_location=dict(sorted(found["location_id"].items())),
        by_day=[DayCount(date=day, count=days.get(place, 0)) for place, day in enumerate(counted.days)],
    )


def _created(filters: JobSummaryFilters, zone: ZoneInfo, now: datetime) -> _Range:
    until = filters.created_lte or now
    since = filters.created_gte or until - _DEFAULT
    _check(until - since, "created_gte", "created_lte")
    first, last = (instant.astimezone(zone).date() for instant in (since, until))
    days = _days(first, last)
    # The beginnings of days are computed here and not by PostgreSQL, so that one time zone database decides.
    starts = [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
    created_at = col(JobRow.created_at)
    place = func.width_bucket(created_at, literal(starts, ARRAY(DateTime(timezone=True)))) - 1
    return _Range(since, until, created_at.between(since, until), place, days)


def _scheduled(filters: JobSummaryFilters) -> _Range:
    if filters.created_gte is not None or filters.created_lte is not None:
        raise _range_refused(
            "scheduled_date_gte", "range_ambiguous", "expected a range of created_at or of scheduled_date, not both"
        )
    since, until = filters.scheduled_date_gte, filters.scheduled_date_lte
    if since is None:
        assert until is not None
        since = until - _DEFAULT
    if until is None:
        until = since + _DEFAULT
    _check(until - since, "scheduled_date_gte", "scheduled_date_lte")
    planned = col(JobRow.scheduled_date)
    condition = SCHEDULED_ORDER.between(since, until)
    place = cast(planned - literal(since), Integer)
    return _Range(since, until, condition & planned.is_not(None), place, _days(since, until))


def _counts(caller: Caller, filters: JobSummaryFilters, counted: _Range) -> Select[*tuple[Any, ...]]:
    jobs = visible_to(caller).where(counted.condition)
    if filters.merchant_id is not None:
        jobs = jobs.where(col(JobRow.merchant_id) == filters.merchant_id)
    if filters.location_id:
        jobs = jobs.where(col(JobRow.location_id) == any_(literal(filters.location_id, ARRAY(TypedId("loc")))))
    columns = (col(JobRow.status), col(JobRow.type), col(JobRow.location_id), counted.place.label("place"))
    job = jobs.with_only_columns(*columns).subquery("job").c
    sets = [tuple_(column) for column in job]
    return select(*job, func.count().label("jobs")).group_by(func.grouping_sets(*sets))


def _check(length: timedelta, since: str, until: str) -> None:
    if length < timedelta():
        raise _range_refused(until, "range_empty", f"must not be before {since}")
    if length > _LONGEST:
        raise _range_refused(since, "range_too_long", f"a range has at most {RANGE_DAYS_MAX} days")


def _range_refused(parameter: str, code: str, message: str) -> Invalid:
    return invalid(Violation("", code, message, parameter))


def _days(first: date, last: date) -> list[date]:
    return [first + _DAY * place for place in range((last - first).days + 1)]
