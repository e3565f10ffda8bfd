"""The audit trail: who did what, when, from where, field by field; and its export."""

import csv
import json
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response, StreamingResponse

from console.declarations import Pages
from console.gateway import Part
from console.gateway.problems import of_response
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.job_words import NAME_CALLS, NAME_PERMISSIONS, Names, with_names_of
from console.pages.staff import names_in
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

LIST = "identity GET /v1/audit-events"
STAFF = "identity GET /v1/staff"
NAMES_MAX = 200
COLUMNS = (
    "created_at",
    "service",
    "actor",
    "actor_kind",
    "via",
    "credential_id",
    "action",
    "target",
    "address",
    "request_id",
    "before",
    "after",
)
SHORT_CHARS = 8
ACTOR_KINDS = {
    "platform": mark("platform"),
    "owner": mark("owner"),
    "staff": mark("staff"),
    "merchant": mark("merchant"),
    "operator": mark("operator"),
    "service": mark("Waybill itself"),
    "unknown": mark("unknown"),
}
WAYS = {
    "session": mark("signed in"),
    "merchant_session": mark("signed in"),
    "user_key": mark("API key"),
    "platform_key": mark("platform key"),
    "pair": mark("API credentials"),
    "password": mark("password"),
    "invitation": mark("invitation"),
    "password_reset": mark("password reset"),
    "email_change": mark("change of e-mail"),
    "refresh_token": mark("renewal of a session"),
    "command": mark("command"),
    "service": mark("by itself"),
    "unknown": mark("unknown"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula begins so."""


@pages.page(
    "/settings/audit",
    title=mark("Audit"),
    permissions=("settings.audit.read",),
    optional=("settings.staff.read", *NAME_PERMISSIONS),
    calls=(LIST, STAFF, *NAME_CALLS),
    menu="audit",
)
async def show_audit(visit: Visit) -> Response:
    table = _table(visit)
    parts = await visit.api.parts(
        events=visit.api.identity.get("/v1/audit-events", query=_asked(visit, table)),
        staff=visit.api.identity.get("/v1/staff", query={"limit": NAMES_MAX}),
    )
    events, staff = parts["events"], parts["staff"]
    if events.problem is not None and events.problem.status < 500:
        raise events.problem
    return visit.render(
        "pages/audit.html",
        table=table,
        events=events,
        names={**names_in(staff), **await _names_of(visit, events)},
        changes=changes,
        short=short,
        kinds=ACTOR_KINDS,
        ways=WAYS,
    )


@pages.fragment("/settings/audit.csv", permissions=("settings.audit.read",), calls=(LIST,))
async def export_audit(visit: Visit) -> Response:
    """All events of the filter. Identity records that they were exported, and streams them."""
    query = {name: value for name, value in _asked(visit, _table(visit)).items() if value and name != "limit"}
    stream = visit.api.gateway.stream(
        "identity",
        "GET",
        "/v1/audit-events",
        params=query,
        headers={
            **visit.api.origin.headers,
            "Authorization": f"Bearer {visit.api.token}",
            "Accept": "application/x-ndjson",
        },
    )
    answer = await stream.__aenter__()
    if answer.status_code != 200:
        await answer.aread()
        await stream.__aexit__(None, None, None)
        raise of_response("identity", answer)

    async def lines() -> AsyncIterator[str]:
        try:
            yield csv_line(COLUMNS)
            async for line in answer.aiter_lines():
                if line:
                    event = json.loads(line)
                    yield csv_line([_cell(event[name]) for name in COLUMNS])
        finally:
            await stream.__aexit__(None, None, None)

    name = f"audit-{datetime.now(visit.words.zone):%Y-%m-%d}.csv"
    return StreamingResponse(
        lines(), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


async def _names_of(visit: Visit, events: Part) -> dict[str, str]:
    """The names of merchants and locations in these events, by their ids."""
    ids = {event[name] for event in events["data"] for name in ("actor", "target")} if events.answer is not None else ()
    names = await with_names_of(
        visit,
        Names(),
        merchants=[one for one in ids if one.startswith("mer_")],
        locations=[one for one in ids if one.startswith("loc_")],
    )
    return {**names.merchants, **names.locations}


def short(value: str) -> str:
    """An id, as far as people need to recognise it."""
    kind, separator, rest = value.partition("_")
    return f"{kind}_…{rest[-SHORT_CHARS:]}" if separator and len(rest) > 2 * SHORT_CHARS else value


def changes(event: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each field of a change with its former and its new value; empty where there is none."""
    before, after = event["before"] or {}, event["after"] or {}
    return [(name, _shown(before.get(name)), _shown(after.get(name))) for name in dict.fromkeys([*before, *after])]


def csv_line(cells: Any) -> str:
    """One line of a file for spreadsheets."""
    text = StringIO()
    csv.writer(text).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return text.getvalue()


def instants(day_from: str | None, day_to: str | None, zone: ZoneInfo) -> tuple[str | None, str | None]:
    """The first and the last instant of days, the last one included, in a time zone. What is no day is sent as it is."""
    first, last = _day(day_from), _day(day_to)
    begin = datetime.combine(first, time.min, zone).isoformat() if first else day_from
    end = (
        (datetime.combine(last + timedelta(days=1), time.min, zone) - timedelta(microseconds=1)).isoformat()
        if last
        else day_to
    )
    return begin, end


def _table(visit: Visit) -> TableQuery:
    services = [("identity", "Identity"), ("billing", "Billing"), ("jobs", "Jobs"), ("webhooks", "Webhooks")]
    filters = (
        Filter("action", _("Action, such as merchant.updated")),
        Filter("actor", _("Id of who did it")),
        Filter("target", _("Id of the record")),
        Filter("service", _("Service"), services),
        Filter("created_at_gte", _("From day"), type="date"),
        Filter("created_at_lte", _("To day"), type="date"),
    )
    return TableQuery("/settings/audit", visit.query, filters)


def _asked(visit: Visit, table: TableQuery) -> dict[str, Any]:
    asked = table.asked
    begin, end = instants(asked.get("created_at_gte"), asked.get("created_at_lte"), visit.words.zone)
    return {**asked, "created_at_gte": begin, "created_at_lte": end}


def _day(value: str | None) -> date | None:
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        return None


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
