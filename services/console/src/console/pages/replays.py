"""Replays: what, when, a dry run that says how many, the run with its progress, and what came of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, text
from console.gateway import Answer, Conflict
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.webhooks import READ, REPLAY, render
from console.visits import Visit

pages = Pages()

LIST = "webhooks GET /v1/replays"
REPLAY_ROUTE = "webhooks GET /v1/replays/{replay_id}"
CREATE = "webhooks POST /v1/replays"
ENDPOINTS = "webhooks GET /v1/webhook-endpoints"
STATS = "webhooks GET /v1/webhook-endpoints/{endpoint_id}/stats"
DELIVERIES = "webhooks GET /v1/deliveries"
NEW_CALLS = [ENDPOINTS, STATS, LIST, CREATE]
SPANS = {"1": 1, "6": 6, "24": 24, "72": 72, "168": 168}
"""Hours back from now."""
SHOWN = 20


@pages.page("/replays/new", title=mark("Replay"), permissions=[READ, REPLAY], calls=NEW_CALLS)
async def show_new_replay(visit: Visit) -> Response:
    values = {
        "endpoint_id": visit.query.get("endpoint_id", ""),
        "kind": "failed",
        "span": visit.query.get("span", "24"),
    }
    return await _show_form(visit, Form(values=values))


@pages.action("/replays/new", title=mark("Replay"), permissions=[READ, REPLAY], calls=NEW_CALLS)
async def try_replay(visit: Visit) -> Response:
    """A dry run: it counts, and sends nothing."""
    form = await visit.form()
    now = datetime.now(UTC)
    hours = SPANS.get(form.plain("/span"), 24)
    wanted = {
        **form.document({"/endpoint_id": text, "/kind": text}),
        "since": (now - timedelta(hours=hours)).isoformat(),
        "until": now.isoformat(),
        "dry_run": True,
    }
    made = await form.send(visit.api.webhooks.post("/v1/replays", wanted, idempotency_key=form.idempotency_key))
    return await _show_form(visit, form) if made is None else visit.redirect(f"/replays/{made['id']}")


@pages.page(
    "/replays/{replay_id}",
    title=mark("Replay"),
    permissions=[READ, REPLAY],
    calls=[REPLAY_ROUTE, ENDPOINTS, DELIVERIES],
)
async def show_replay(visit: Visit) -> Response:
    return render(visit, "pages/replay.html", **await _replay(visit))


@pages.fragment("/replays/{replay_id}/now", permissions=[READ, REPLAY], calls=[REPLAY_ROUTE, ENDPOINTS, DELIVERIES])
async def show_replay_now(visit: Visit) -> Response:
    """Its progress."""
    return render(visit, "parts/replay_now.html", **await _replay(visit))


@pages.action("/replays/{replay_id}/run", permissions=[REPLAY], calls=[REPLAY_ROUTE, CREATE])
async def run_replay(visit: Visit) -> Response:
    """The same again, and this time it sends."""
    form = await visit.form()
    tried = await visit.api.webhooks.get("/v1/replays/{replay_id}", replay_id=visit.ids["replay_id"])
    wanted = {name: tried[name] for name in ("endpoint_id", "kind", "since", "until", "event_types")}
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


async def _show_form(visit: Visit, form: Form) -> Response:
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        earlier=visit.api.webhooks.get("/v1/replays", query={"limit": 10}),
    )
    if (problem := found["endpoints"].problem) is not None:
        raise problem
    urls = {one["id"]: one["url"] for one in found["endpoints"]["data"]}
    chosen, stats = form.value("/endpoint_id"), None
    if chosen in urls:
        path = "/v1/webhook-endpoints/{endpoint_id}/stats"
        hours = SPANS.get(str(form.value("/span")), 24)
        since = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
        query = {"bucket_seconds": max(300, hours * 3600 // 48), "since": since}
        stats = await visit.api.part(visit.api.webhooks.get(path, query=query, endpoint_id=chosen))
    return render(
        visit,
        "pages/replay_form.html",
        status=form.status,
        form_state=form,
        urls=urls,
        stats=stats,
        earlier=found["earlier"],
        spans=[
            ("1", _("the last hour")),
            ("6", _("the last 6 hours")),
            ("24", _("the last 24 hours")),
            ("72", _("the last 3 days")),
            ("168", _("the last 7 days")),
        ],
        kinds=[
            ("failed", _("Deliveries that were given up")),
            ("missing", _("Events that were never sent to it")),
            ("filter", _("All events again, delivered or not")),
        ],
    )


async def _replay(visit: Visit) -> dict[str, Any]:
    replay = await visit.api.webhooks.get("/v1/replays/{replay_id}", replay_id=visit.ids["replay_id"])
    query = {
        "endpoint_id": replay["endpoint_id"],
        "created_from": replay["since"],
        "created_before": replay["until"],
        "status": "failed" if replay["kind"] == "failed" else None,
        "limit": SHOWN,
    }
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        deliveries=visit.api.webhooks.get("/v1/deliveries", query=query),
    )
    endpoints = [] if found["endpoints"].answer is None else found["endpoints"]["data"]
    return {
        "replay": replay.body,
        "url": next((one["url"] for one in endpoints if one["id"] == replay["endpoint_id"]), replay["endpoint_id"]),
        "deliveries": found["deliveries"],
        "run_seconds": _run_seconds(replay),
        "key": Form().idempotency_key,
    }


def _run_seconds(replay: Answer | Mapping[str, Any]) -> float:
    """How long sending takes at its rate."""
    return max(1.0, float(replay["matched"] / replay["rate_per_second"]))
