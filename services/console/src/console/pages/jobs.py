"""Jobs: the list with its saved views, one job, its commands, and the outcomes of its actions."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response, StreamingResponse

from console.declarations import Pages
from console.forms import Form, integer, text
from console.gateway import Answer
from console.i18n import gettext as _
from console.i18n import mark, ngettext
from console.pages.job_words import (
    MERCHANTS,
    NAME_CALLS,
    NAME_PERMISSIONS,
    NAMES_MAX,
    OWN_NAME_CALLS,
    STATUSES,
    TYPES,
    Names,
    merchant_filter,
    names_for,
    status_choices,
    type_choices,
    with_names_of,
)
from console.pages.staff import names_in
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

HISTORY_MAX = 100
NEW_COUNTED_MAX = 100
CHOICES_MAX = 20
EXPORT_SECONDS = 60.0
COMMANDS: Mapping[str, tuple[str, str, bool]] = {
    "accept": (mark("Accept"), mark("Accepted."), False),
    "start": (mark("Start"), mark("Started."), False),
    "complete": (mark("Complete"), mark("Completed."), False),
    "fail": (mark("Could not be done"), mark("Recorded as not done."), True),
    "report-damage": (mark("Report damage"), mark("Damage recorded."), True),
    "resolve": (mark("Resolve"), mark("Resolved."), True),
    "cancel": (mark("Cancel"), mark("Cancelled."), True),
}
"""Each command: its button, what is said once it is done, and whether it takes a reason."""
LEADS_TO = {
    "new": "accept",
    "in_progress": "start",
    "completed": "complete",
    "incomplete": "fail",
    "damaged": "report-damage",
    "resolved": "resolve",
    "cancelled": "cancel",
}
"""By the status that a job may go to next: the command that takes it there."""
COMMAND_CALLS = [f"jobs POST /v1/jobs/{{job_id}}/{command}" for command in (*COMMANDS, "assign")]
DETAIL_CALLS = (
    "jobs GET /v1/jobs/{job_id}",
    "jobs GET /v1/jobs/{job_id}/events",
    "webhooks GET /v1/deliveries",
    "identity GET /v1/staff",
    *NAME_CALLS,
)
DETAIL_OPTIONAL = (*NAME_PERMISSIONS, "settings.webhooks.read", "settings.staff.read")
COMMAND_PERMISSIONS = ("orders.dispatch", "orders.jobs.cancel")
OUTCOME = {"/completed": integer, "/incomplete": integer, "/damaged": integer, "/note": text}
ACTION = {"/type": text, "/description": text, "/sku": text, "/quantity": integer, "/unit": text}


def table_of(visit: Visit, names: Names) -> TableQuery:
    """What the address asks of the list."""
    filters = [
        Filter("status", _("Status"), status_choices()),
        Filter("type", _("Type"), type_choices()),
        *([Filter("location_id", _("Location"), list(names.locations.items()))] if names.locations else []),
        *([] if visit.standing.is_merchant else merchant_filter(names)),
        Filter("scheduled_date_gte", _("Scheduled from"), type="date"),
        Filter("scheduled_date_lte", _("Scheduled until"), type="date"),
    ]
    return TableQuery("/jobs", visit.query, filters, search=True)


@pages.page(
    "/jobs",
    title=mark("Jobs"),
    audience="signed in",
    menu="jobs",
    permissions=["orders.jobs.read"],
    optional=NAME_PERMISSIONS,
    calls=["jobs GET /v1/jobs", *NAME_CALLS, *OWN_NAME_CALLS],
)
async def list_jobs(visit: Visit) -> Response:
    names = await names_for(visit)
    table = table_of(visit, names)
    read_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    found = await visit.api.jobs.get("/v1/jobs", query=table.asked)
    shown, chosen = found["data"], visit.query.get("merchant_id")
    names = await with_names_of(
        visit,
        names,
        merchants=[chosen, *(job["merchant_id"] for job in shown)],
        locations=[job["location_id"] for job in shown],
    )
    table = table_of(visit, names)
    views = await visit.parts.views.list_views(visit.person, "/jobs")
    return visit.render(
        "pages/jobs.html", table=table, found=found, names=names, read_at=read_at, views=views, **words()
    )


@pages.fragment("/merchant-choices", permissions=NAME_PERMISSIONS, calls=[f"identity GET {MERCHANTS}"])
async def list_merchant_choices(visit: Visit) -> Response:
    """Merchants to choose from, by what was typed of their names."""
    query = {"q": visit.query.get("q", ""), "limit": CHOICES_MAX}
    found = await visit.api.identity.get(MERCHANTS, query=query)
    return visit.render("parts/merchant_choices.html", found=found)


@pages.fragment(
    "/jobs/news",
    audience="signed in",
    permissions=["orders.jobs.read"],
    optional=NAME_PERMISSIONS,
    calls=["jobs GET /v1/jobs", *NAME_CALLS, *OWN_NAME_CALLS],
)
async def count_new_jobs(visit: Visit) -> Response:
    """How many of the list have come since it was shown: rows never move while somebody reads them."""
    table = table_of(visit, await names_for(visit))
    since = visit.query.get("since", "")
    query = {**table.asked, "cursor": None, "created_gte": since, "limit": NEW_COUNTED_MAX}
    found = await visit.api.jobs.get("/v1/jobs", query=query)
    count = len(found["data"])
    shown = f"{count}+" if found["has_more"] else visit.words.number(count)
    news = ngettext("%(shown)s new – show", "%(shown)s new – show", count) % {"shown": shown} if count else ""
    return visit.render("parts/news.html", table=table, since=since, news=news)


@pages.fragment(
    "/jobs/export.csv",
    audience="signed in",
    permissions=["orders.jobs.read"],
    optional=NAME_PERMISSIONS,
    calls=["jobs GET /v1/job-exports", *NAME_CALLS, *OWN_NAME_CALLS],
)
async def export_jobs(visit: Visit) -> Response:
    table = table_of(visit, await names_for(visit))
    return await passed_on(visit, "/v1/job-exports", {**table.values, "format": "csv"})


async def passed_on(visit: Visit, path: str, query: Mapping[str, Any], **ids: str) -> Response:
    """A file of the jobs service, passed on as it comes. Raises `Problem`."""
    opened = visit.api.stream("jobs", path, query=query, ids=ids, seconds=EXPORT_SECONDS)
    response = await opened.__aenter__()

    async def content() -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        finally:
            await opened.__aexit__(None, None, None)

    kept = {
        name: response.headers[name] for name in ("content-type", "content-disposition") if name in response.headers
    }
    return StreamingResponse(content(), headers=kept)


@pages.fragment(
    "/live/jobs", audience="signed in", permissions=["orders.jobs.read"], calls=["jobs GET /v1/job-notices"]
)
async def stream_notices(visit: Visit) -> Response:
    return await visit.parts.live.stream(visit.api, "jobs")


@pages.action("/jobs/views", audience="signed in")
async def save_view(visit: Visit) -> Response:
    form = await visit.form()
    query = form.plain("query")
    kept = await visit.parts.views.save(visit.person, "/jobs", form.plain("name").strip(), query)
    told = (
        _("The view is saved.") if kept else _("The view is not saved: it has no name, or you have 20 views already.")
    )
    return visit.redirect(back_to_list(form), message=told)


@pages.action("/jobs/views/{view_id}/delete", audience="signed in")
async def delete_view(visit: Visit) -> Response:
    await visit.form()
    await visit.parts.views.delete(visit.person, visit.ids["view_id"])
    return visit.redirect("/jobs", message=_("The view is deleted."))


def back_to_list(form: Form) -> str:
    query = form.plain("query")
    return f"/jobs?{query}" if query else "/jobs"


@pages.page(
    "/jobs/{job_id}",
    title=mark("Job"),
    audience="signed in",
    permissions=["orders.jobs.read"],
    optional=DETAIL_OPTIONAL,
    calls=[*DETAIL_CALLS, *OWN_NAME_CALLS],
    sample="/jobs/{job_id}",
)
async def show_job(visit: Visit) -> Response:
    return await shown(visit)


@pages.action(
    "/jobs/{job_id}/commands/{command}",
    permissions=["orders.jobs.read"],
    optional=[*COMMAND_PERMISSIONS, *DETAIL_OPTIONAL],
    calls=[*COMMAND_CALLS, *DETAIL_CALLS],
)
async def run_command(visit: Visit) -> Response:
    form = await visit.form()
    job_id, command = visit.ids["job_id"], visit.ids["command"]
    if command == "assign":
        body: dict[str, Any] | None = form.document({"/assigned_to": text})
        told = _("Assigned.")
    elif command in COMMANDS:
        body, told = form.document({"/reason": text}) or None, _(COMMANDS[command][1])
    else:
        return visit.redirect(f"/jobs/{job_id}")
    key = form.idempotency_key
    done = await form.send(
        visit.api.jobs.post(f"/v1/jobs/{{job_id}}/{command}", body, idempotency_key=key, job_id=job_id)
    )
    if done is None:
        return await shown(visit, refused=form)
    return visit.redirect(f"/jobs/{job_id}", message=told)


@pages.action(
    "/jobs/{job_id}/actions/{action_id}/outcome",
    permissions=["orders.jobs.read", "orders.dispatch"],
    optional=DETAIL_OPTIONAL,
    calls=["jobs POST /v1/jobs/{job_id}/actions/{action_id}/outcome", *DETAIL_CALLS],
)
async def record_outcome(visit: Visit) -> Response:
    form = await visit.form()
    path = "/v1/jobs/{job_id}/actions/{action_id}/outcome"
    body = form.document(OUTCOME)
    done = await form.send(
        visit.api.jobs.post(
            path,
            body,
            idempotency_key=form.idempotency_key,
            job_id=visit.ids["job_id"],
            action_id=visit.ids["action_id"],
        )
    )
    if done is None:
        return await shown(visit, refused=form, at=visit.ids["action_id"])
    return visit.redirect(f"/jobs/{visit.ids['job_id']}", message=_("The outcome is recorded."))


@pages.action(
    "/jobs/{job_id}/actions",
    permissions=["orders.jobs.read", "orders.actions.write"],
    optional=DETAIL_OPTIONAL,
    calls=["jobs POST /v1/jobs/{job_id}/actions", *DETAIL_CALLS],
)
async def add_action(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document(ACTION)
    done = await form.send(
        visit.api.jobs.post(
            "/v1/jobs/{job_id}/actions", body, idempotency_key=form.idempotency_key, job_id=visit.ids["job_id"]
        )
    )
    if done is None:
        return await shown(visit, refused=form, at="new")
    return visit.redirect(f"/jobs/{visit.ids['job_id']}", message=_("The action is added."))


@pages.action(
    "/jobs/{job_id}/actions/{action_id}/delete",
    permissions=["orders.jobs.read", "orders.actions.delete"],
    optional=DETAIL_OPTIONAL,
    calls=["jobs DELETE /v1/jobs/{job_id}/actions/{action_id}", *DETAIL_CALLS],
)
async def delete_action(visit: Visit) -> Response:
    form = await visit.form()
    done = await form.send(
        visit.api.jobs.delete(
            "/v1/jobs/{job_id}/actions/{action_id}", job_id=visit.ids["job_id"], action_id=visit.ids["action_id"]
        )
    )
    if done is None:
        return await shown(visit, refused=form)
    return visit.redirect(f"/jobs/{visit.ids['job_id']}", message=_("The action is deleted."))


@pages.action(
    "/jobs/{job_id}/delete",
    permissions=["orders.jobs.read", "orders.jobs.delete"],
    optional=DETAIL_OPTIONAL,
    calls=["jobs DELETE /v1/jobs/{job_id}", *DETAIL_CALLS],
)
async def delete_job(visit: Visit) -> Response:
    form = await visit.form()
    done = await form.send(visit.api.jobs.delete("/v1/jobs/{job_id}", job_id=visit.ids["job_id"]))
    if done is None:
        return await shown(visit, refused=form)
    return visit.redirect("/jobs", message=_("The job is deleted."))


def words() -> dict[str, Any]:
    """What templates of jobs need of words."""
    return {"statuses": STATUSES, "types": TYPES}


def allowed_commands(visit: Visit, job: Answer) -> list[str]:
    """The commands that the job's status and the person's permissions allow, in the order of the work."""
    standing = visit.standing
    if standing.is_merchant:
        return []
    found = [LEADS_TO[status] for status in job["allowed_transitions"] if status in LEADS_TO]
    may_dispatch = standing.holds("orders.dispatch")
    return [
        command
        for command in COMMANDS
        if command in found
        and (
            may_dispatch
            or (command == "cancel" and standing.holds("orders.jobs.cancel") and job["status"] != "in_progress")
        )
    ]


async def shown(visit: Visit, *, refused: Form | None = None, at: str = "") -> Response:
    """The page of a job, with what was refused of it: a command, or the form of the action `at`."""
    job_id = visit.ids["job_id"]
    jobs = visit.api.jobs
    calls = {"events": jobs.get("/v1/jobs/{job_id}/events", query={"limit": HISTORY_MAX}, job_id=job_id)}
    if visit.standing.holds("settings.webhooks.read") and not visit.standing.is_merchant:
        query = {"job_id": job_id, "limit": HISTORY_MAX}
        calls["deliveries"] = visit.api.webhooks.get("/v1/deliveries", query=query)
    if visit.standing.holds("settings.staff.read") and not visit.standing.is_merchant:
        calls["staff"] = visit.api.identity.get("/v1/staff", query={"limit": NAMES_MAX})
    job, parts, names = await asyncio.gather(
        jobs.get("/v1/jobs/{job_id}", job_id=job_id), visit.api.parts(**calls), names_for(visit)
    )
    places = (job["location_id"], job["distribution_location_id"])
    names = await with_names_of(visit, names, merchants=[job["merchant_id"]], locations=places)
    return visit.render(
        "pages/job.html",
        status=refused.status if refused else 200,
        job=job.body,
        names=names,
        commands=[(one, *COMMANDS[one]) for one in allowed_commands(visit, job)],
        may_assign=visit.standing.holds("orders.dispatch") and job["status"] in ("new", "in_progress"),
        parts=parts,
        timeline=_timeline(parts),
        people=names_in(parts["staff"]) if "staff" in parts else {},
        refused=refused,
        at=at,
        fresh=Form(),
        **words(),
    )


def _timeline(parts: Mapping[str, Any]) -> Sequence[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """The changes of a job, newest first, each with the webhooks that it caused."""
    events = parts["events"]
    if events.answer is None:
        return []
    caused: dict[str, list[Mapping[str, Any]]] = {}
    if "deliveries" in parts and parts["deliveries"].answer is not None:
        for delivery in parts["deliveries"]["data"]:
            caused.setdefault(delivery["event_id"], []).append(delivery)
    return [(event, caused.get(event["id"], [])) for event in reversed(events["data"])]
