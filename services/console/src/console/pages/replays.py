"""Replays: what, when, a dry run that says how many, the run with its progress, and what came of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, instant, text
from console.gateway import Answer, Conflict, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.delivery_filters import RECOVER_PATH, as_replay, delivery_table, of_replay, urls_of
from console.pages.webhooks import READ, REPLAY, render
from console.visits import Visit

pages = Pages()

LIST = "webhooks GET /v1/replays"
REPLAY_ROUTE = "webhooks GET /v1/replays/{replay_id}"
CREATE = "webhooks POST /v1/replays"
ENDPOINTS = "webhooks GET /v1/webhook-endpoints"
STATS = "webhooks GET /v1/webhook-endpoints/{endpoint_id}/stats"
DELIVERIES = "webhooks GET /v1/deliveries"
LOCATIONS = "webhooks GET /v1/webhook-locations"
SHOW_CALLS = [REPLAY_ROUTE, ENDPOINTS, LOCATIONS, DELIVERIES]
RECOVER_CALLS = [ENDPOINTS, LOCATIONS, DELIVERIES, CREATE]
NEW_CALLS = [ENDPOINTS, STATS, LIST, CREATE]
SPANS = {"1": 1, "6": 6, "24": 24, "72": 72, "168": 168}
"""Hours back from now."""
OWN = "own"
"""Instants of one's own, in place of hours back from now."""
BARS = 48
BUCKET_SECONDS = 300, 86_400
"""The shortest and the longest time that a bar stands for."""
SHOWN = 20


@pages.page("/replays/new", title=mark("Replay"), permissions=[READ, REPLAY], calls=NEW_CALLS)
async def show_new_replay(visit: Visit) -> Response:
    """The form, for an endpoint."""
    values = {"endpoint_id": visit.query.get("endpoint_id", ""), "kind": "failed", "span": "24"}
    return await _show_form(visit, Form(values=values))


@pages.action("/replays/new", title=mark("Replay"), permissions=[READ, REPLAY], calls=NEW_CALLS)
async def try_replay(visit: Visit) -> Response:
    """A dry run: it counts, and sends nothing."""
    form = await visit.form()
    since, until = _range(form)
    if since is None:
        form.refuse("/since", _("This is needed."))
        return await _show_form(visit, form)
    wanted = {
        **form.document({"/endpoint_id": text, "/kind": text}),
        "event_types": [part.strip() for part in form.plain("/event_types").split(",") if part.strip()] or None,
        "since": since,
        "until": until,
        "dry_run": True,
    }
    made = await form.send(visit.api.webhooks.post("/v1/replays", wanted, idempotency_key=form.idempotency_key))
    return await _show_form(visit, form) if made is None else visit.redirect(f"/replays/{made['id']}")


@pages.page(RECOVER_PATH, title=mark("Recover deliveries"), permissions=[READ, REPLAY], calls=RECOVER_CALLS)
async def show_recovery(visit: Visit) -> Response:
    """What matches the filters of the list, before it is sent again."""
    return await _show_recovery(visit, visit.query, Form())


@pages.action(RECOVER_PATH, title=mark("Recover deliveries"), permissions=[READ, REPLAY], calls=RECOVER_CALLS)
async def try_recovery(visit: Visit) -> Response:
    """A dry run of exactly what matches."""
    form = await visit.form()
    given = dict(form.plain_fields())
    nameless = Part(None, None)
    wanted = as_replay(delivery_table(RECOVER_PATH, given, {"endpoints": nameless, "locations": nameless}))
    call = visit.api.webhooks.post("/v1/replays", {**wanted, "dry_run": True}, idempotency_key=form.idempotency_key)
    made = await form.send(call)
    return await _show_recovery(visit, given, form) if made is None else visit.redirect(f"/replays/{made['id']}")


async def _show_recovery(visit: Visit, given: Mapping[str, str], form: Form) -> Response:
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        locations=visit.api.webhooks.get("/v1/webhook-locations"),
    )
    table = delivery_table(RECOVER_PATH, given, found)
    listed = await visit.api.part(visit.api.webhooks.get("/v1/deliveries", query={**table.asked, "limit": SHOWN}))
    return render(
        visit,
        "pages/recovery.html",
        status=form.status,
        form_state=form,
        table=table,
        listed=listed,
        urls=urls_of(found["endpoints"]),
    )


@pages.action("/replays/histogram", permissions=[READ], calls=[STATS])
async def show_histogram(visit: Visit) -> Response:
    """What there was in the time that is chosen now."""
    form = await visit.form()
    return render(visit, "parts/histogram.html", stats=await _stats(visit, form))


@pages.page(
    "/replays/{replay_id}",
    title=mark("Replay"),
    permissions=[READ, REPLAY],
    calls=SHOW_CALLS,
)
async def show_replay(visit: Visit) -> Response:
    return render(visit, "pages/replay.html", **await _replay(visit))


@pages.fragment("/replays/{replay_id}/now", permissions=[READ, REPLAY], calls=SHOW_CALLS)
async def show_replay_now(visit: Visit) -> Response:
    """Its progress."""
    return render(visit, "parts/replay_now.html", **await _replay(visit))


@pages.action("/replays/{replay_id}/run", permissions=[REPLAY], calls=[REPLAY_ROUTE, CREATE])
async def run_replay(visit: Visit) -> Response:
    """The same again, and this time it sends."""
    form = await visit.form()
    tried = await visit.api.webhooks.get("/v1/replays/{replay_id}", replay_id=visit.ids["replay_id"])
    wanted = {name: tried[name] for name in ("endpoint_id", "kind", "since", "until", "event_types", "deliveries")}
    try:
        made = await visit.api.webhooks.post("/v1/replays", wanted, idempotency_key=form.idempotency_key)
    except Conflict as problem:
        return visit.redirect(f"/replays/{tried['id']}", message=_("Not started: %(why)s.") % {"why": problem.detail})
    return visit.redirect(f"/replays/{made['id']}")


@pages.action(
    "/replays/{replay_id}/cancel", permissions=[REPLAY], calls=["webhooks POST /v1/replays/{replay_id}/cancel"]
)
async def cancel_replay(visit: Visit) -> Response:
    await visit.form()
    target = f"/replays/{visit.ids['replay_id']}"
    try:
        await visit.api.webhooks.post("/v1/replays/{replay_id}/cancel", replay_id=visit.ids["replay_id"])
    except Conflict:
        return visit.redirect(target, message=_("It had ended already."))
    return visit.redirect(target, message=_("Cancelled. What it had queued is still sent."))


def _range(form: Form) -> tuple[str | None, str]:
    """From when until when, as it is entered."""
    now = datetime.now(UTC)
    if form.value("/span") == OWN:
        since, until = (instant([form.value(name) or ""]) for name in ("/since", "/until"))
        return since, until or now.isoformat()
    return (now - timedelta(hours=SPANS.get(str(form.value("/span")), 24))).isoformat(), now.isoformat()


async def _stats(visit: Visit, form: Form) -> Part | None:
    """How much there was in that time, in bars; None where no endpoint or no time is chosen yet."""
    since, until = _range(form)
    endpoint_id = form.value("/endpoint_id")
    try:
        seconds = (datetime.fromisoformat(until) - datetime.fromisoformat(since or "")).total_seconds()
    except ValueError:
        return None
    if not endpoint_id or seconds <= 0:
        return None
    shortest, longest = BUCKET_SECONDS
    bucket = min(max(shortest, ceil(seconds / BARS)), longest)
    query = {"bucket_seconds": bucket, "since": since, "until": until}
    path = "/v1/webhook-endpoints/{endpoint_id}/stats"
    return await visit.api.part(visit.api.webhooks.get(path, query=query, endpoint_id=endpoint_id))


async def _show_form(visit: Visit, form: Form) -> Response:
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        earlier=visit.api.webhooks.get("/v1/replays", query={"limit": 10}),
    )
    if (problem := found["endpoints"].problem) is not None:
        raise problem
    return render(
        visit,
        "pages/replay_form.html",
        status=422 if form.errors else form.status,
        form_state=form,
        urls=urls_of(found["endpoints"]),
        stats=await _stats(visit, form),
        earlier=found["earlier"],
        spans=[
            ("1", _("the last hour")),
            ("6", _("the last 6 hours")),
            ("24", _("the last 24 hours")),
            ("72", _("the last 3 days")),
            ("168", _("the last 7 days")),
            (OWN, _("from … until …")),
        ],
        kinds=[
            ("failed", _("Deliveries that were given up")),
            ("missing", _("Events that were never sent to it")),
            ("filter", _("All events again, delivered or not")),
        ],
    )


async def _replay(visit: Visit) -> dict[str, Any]:
    replay = await visit.api.webhooks.get("/v1/replays/{replay_id}", replay_id=visit.ids["replay_id"])
    query = {**of_replay(replay.body, exact=True), "limit": SHOWN}
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        locations=visit.api.webhooks.get("/v1/webhook-locations"),
        deliveries=visit.api.webhooks.get("/v1/deliveries", query=query),
    )
    table = delivery_table(RECOVER_PATH, of_replay(replay.body, exact=False), found)
    endpoint_id = replay["endpoint_id"]
    return {
        "replay": replay.body,
        "url": urls_of(found["endpoints"]).get(endpoint_id, endpoint_id) or _("To the endpoint of each delivery"),
        "filters": [chip[:2] for chip in table.chips if chip[0] not in (_("Since"), _("Until"), _("Endpoint"))],
        "change": table.address() if replay["kind"] == "deliveries" else f"/replays/new?endpoint_id={endpoint_id}",
        "deliveries": found["deliveries"],
        "run_seconds": _run_seconds(replay),
        "key": Form().idempotency_key,
    }


def _run_seconds(replay: Answer | Mapping[str, Any]) -> float:
    """How long sending takes at its rate."""
    return max(1.0, float((replay["matched"] - replay["skipped"]) / replay["rate_per_second"]))
