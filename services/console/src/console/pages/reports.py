"""Reports: how many jobs, by status, type, location and day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.i18n import gettext as _
from console.i18n import mark, ngettext
from console.pages.job_words import (
    NAME_CALLS,
    NAME_PERMISSIONS,
    STATUSES,
    TYPES,
    Names,
    merchant_filter,
    names_for,
    with_names_of,
)
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

DAYS_DEFAULT = 30


def ranges() -> list[tuple[str, str]]:
    return [
        ("7", _("Last 7 days")),
        ("30", _("Last 30 days")),
        ("90", _("Last 90 days")),
        ("365", _("Last 365 days")),
    ]


@pages.page(
    "/reports",
    title=mark("Reports"),
    menu="reports",
    permissions=["reports.read"],
    optional=NAME_PERMISSIONS,
    calls=["jobs GET /v1/reports/jobs/summary", *NAME_CALLS],
)
async def show_reports(visit: Visit) -> Response:
    names = await names_for(visit)
    table = _table(visit, names)
    chosen = table.values.get("days", "")
    days = int(chosen) if chosen in dict(ranges()) else DAYS_DEFAULT
    zone = visit.words.zone
    today = datetime.now(UTC).astimezone(zone)
    first = (today - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    query: dict[str, Any] = {name: table.values.get(name) for name in ("merchant_id", "location_id")}
    if table.values.get("by") == "scheduled_date":
        query |= {"scheduled_date_gte": first.date().isoformat(), "scheduled_date_lte": today.date().isoformat()}
    else:
        query |= {"created_gte": first.astimezone(UTC).isoformat(), "timezone": str(zone)}
    found = await visit.api.jobs.get("/v1/reports/jobs/summary", query=query)
    merchants = [table.values.get("merchant_id")]
    names = await with_names_of(visit, names, merchants=merchants, locations=found["by_location"])
    table = _table(visit, names)
    return visit.render(
        "pages/reports.html",
        table=table,
        found=found.body,
        days=found["by_day"],
        sentence=_sentence(visit, found.body),
        groups=[
            (
                _("By status"),
                _rows(visit, found["by_status"], {code: _(word) for code, (word, _k) in STATUSES.items()}),
            ),
            (_("By type"), _rows(visit, found["by_type"], {code: _(word) for code, word in TYPES.items()})),
            (_("By location"), _rows(visit, found["by_location"], names.locations)),
        ],
    )


def _table(visit: Visit, names: Names) -> TableQuery:
    filters = [
        Filter("days", _("Time"), ranges()),
        Filter("by", _("Day of"), [("created_at", _("creation")), ("scheduled_date", _("the schedule"))]),
        *merchant_filter(names),
        *([Filter("location_id", _("Location"), list(names.locations.items()))] if names.locations else []),
    ]
    return TableQuery("/reports", visit.query, filters)


def _rows(visit: Visit, counts: Mapping[str, int], names: Mapping[str, str]) -> Sequence[tuple[str, int, str, float]]:
    """Name, count, share in words, and width of the bar in percent of the longest one; most first, without zeros."""
    total, most = sum(counts.values()), max(counts.values(), default=0)
    found = sorted(((count, code) for code, count in counts.items() if count), reverse=True)
    return [
        (names.get(code, f"…{code[-6:]}"), count, visit.words.percent(count / total), round(100 * count / most, 2))
        for count, code in found
    ]


def _sentence(visit: Visit, found: Mapping[str, Any]) -> str:
    """The report in words."""
    total = found["total"]
    if not total:
        return _("No jobs in this time.")
    days = found["by_day"]
    busiest = max(days, key=lambda day: day["count"])
    told = ngettext("%(shown)s job", "%(shown)s jobs", total) % {"shown": visit.words.number(total)}
    average = visit.words.number(round(total / max(1, len(days)), 1))
    return _("{jobs} in {days} days: {average} a day on average, most on {busiest} ({most}).").format(
        jobs=told,
        days=visit.words.number(len(days)),
        average=average,
        busiest=visit.words.day(busiest["date"]),
        most=visit.words.number(busiest["count"]),
    )
