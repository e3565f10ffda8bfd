"""Deliveries: the list with all its filters, and one delivery with its attempts, its request, and what changed since the event before."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.gateway import Conflict, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.delivery_filters import LIST_PATH, RECOVER_PATH, delivery_table, urls_of
from console.pages.webhooks import READ, REPLAY, render
from console.visits import Visit

pages = Pages()

LIST = "webhooks GET /v1/deliveries"
DELIVERY = "webhooks GET /v1/deliveries/{delivery_id}"
RESEND = "webhooks POST /v1/deliveries/{delivery_id}/resend"
LOCATIONS = "webhooks GET /v1/webhook-locations"
ENDPOINTS = "webhooks GET /v1/webhook-endpoints"
DIFF_LINES_MAX = 400
OF_JOB_MAX = 50


@pages.page(
    "/deliveries", title=mark("Deliveries"), menu="deliveries", permissions=[READ], calls=[LIST, LOCATIONS, ENDPOINTS]
)
async def list_deliveries(visit: Visit) -> Response:
    found = await visit.api.parts(
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
        locations=visit.api.webhooks.get("/v1/webhook-locations"),
    )
    table = delivery_table(LIST_PATH, visit.query, found)
    listed = await visit.api.part(visit.api.webhooks.get("/v1/deliveries", query=table.asked))
    if listed.problem is not None and listed.problem.status not in (400, 422):
        raise listed.problem
    return render(
        visit,
        "pages/deliveries.html",
        table=table,
        listed=listed,
        urls=urls_of(found["endpoints"]),
        back=table.address(),
        recover=table.address_on(RECOVER_PATH),
    )


@pages.fragment("/live/webhooks", permissions=[READ], calls=["webhooks GET /v1/events"])
async def stream_notices(visit: Visit) -> Response:
    return await visit.parts.live.stream(visit.api, "webhooks")


@pages.page(
    "/deliveries/{delivery_id}",
    title=mark("Delivery of an event"),
    permissions=[READ],
    calls=[DELIVERY, LIST, "webhooks GET /v1/webhook-endpoints/{endpoint_id}"],
    sample="/deliveries/{delivery_id}",
)
async def show_delivery(visit: Visit) -> Response:
    api = visit.api
    delivery = await api.webhooks.get("/v1/deliveries/{delivery_id}", delivery_id=visit.ids["delivery_id"])
    of_job = {"job_id": delivery["job_id"], "endpoint_id": delivery["endpoint_id"], "limit": OF_JOB_MAX}
    found = await api.parts(
        endpoint=api.webhooks.get("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=delivery["endpoint_id"]),
        of_job=api.webhooks.get("/v1/deliveries", query=of_job),
    )
    before = _before(found["of_job"], delivery["event_id"]) if delivery["job_id"] else None
    earlier = None
    if before is not None:
        earlier = await api.part(api.webhooks.get("/v1/deliveries/{delivery_id}", delivery_id=before["id"]))
    request = delivery["request"]
    return render(
        visit,
        "pages/delivery.html",
        delivery=delivery.body,
        endpoint=found["endpoint"],
        request=request,
        body=_pretty(request["body"]) if request else "",
        waterfall=[_waterfall(attempt) for attempt in reversed(delivery["attempts"])],
        before=before,
        changes=_changes(earlier, request),
    )


@pages.action("/deliveries/{delivery_id}/resend", permissions=[REPLAY], calls=[RESEND])
async def resend_delivery(visit: Visit) -> Response:
    form = await visit.form()
    back = form.plain("back")
    target = back if back.startswith("/deliveries") else f"/deliveries/{visit.ids['delivery_id']}"
    try:
        await visit.api.webhooks.post("/v1/deliveries/{delivery_id}/resend", delivery_id=visit.ids["delivery_id"])
    except Conflict as problem:
        return visit.redirect(target, message=_("Not sent again: %(why)s.") % {"why": problem.detail})
    return visit.redirect(target, message=_("Sent again. The result is here in a moment."))


def _before(of_job: Part, event_id: str) -> Mapping[str, Any] | None:
    """The delivery of the job's event before this one, to the same endpoint."""
    listed = [] if of_job.answer is None else of_job["data"]
    return next((one for one in listed if one["event_id"] < event_id), None)


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


def _changes(earlier: Part | None, request: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Lines of the data that differ from the event before: `-`, `+` or a blank, and the line."""
    if earlier is None or earlier.answer is None or not earlier["request"] or not request:
        return []
    former, present = _pretty(earlier["request"]["body"]).splitlines(), _pretty(request["body"]).splitlines()
    found = difflib.unified_diff(former, present, lineterm="", n=2)
    shown = [(line[:1], line[1:]) for line in found if not line.startswith(("---", "+++"))]
    return shown[:DIFF_LINES_MAX]


def _waterfall(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """An attempt with the steps of its time, each with where it begins and how long it is, in percent of the whole."""
    whole = max(attempt["latency_ms"], 1)
    names = (
        ("dns", "DNS", attempt["dns_ms"]),
        ("connect", _("Connection"), attempt["connect_ms"]),
        ("tls", "TLS", attempt["tls_ms"]),
        ("first-byte", _("First byte"), attempt["first_byte_ms"]),
    )
    steps: list[dict[str, Any]] = []
    at = 0
    for key, label, spent in names:
        if spent is not None:
            steps.append({"key": key, "label": label, "ms": spent, "at": at, "size": spent})
            at += spent
    if attempt["latency_ms"] > at:
        rest = attempt["latency_ms"] - at
        steps.append({"key": "rest", "label": _("Rest"), "ms": rest, "at": at, "size": rest})
    for step in steps:
        step["at"] = round(100 * min(step["at"], whole) / whole, 2)
        step["size"] = round(max(100 * step["size"] / whole, 0.8), 2)
    return {"attempt": attempt, "steps": steps}
