"""Event types: what can happen, with schema and example, who publishes it, and a test that sends one."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.i18n import mark
from console.pages.webhook_words import wants
from console.pages.webhooks import READ, render
from console.visits import Visit

pages = Pages()

TYPES = "webhooks GET /v1/event-types"


@pages.page("/event-types", title=mark("Event types"), menu="event-types", permissions=[READ], calls=[TYPES])
async def list_event_types(visit: Visit) -> Response:
    found = await visit.api.webhooks.get("/v1/event-types")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in found["data"]:
        groups.setdefault(one["name"].partition(".")[0], []).append(one)
    return render(visit, "pages/event_types.html", groups=groups)


@pages.page(
    "/event-types/{name}",
    title=mark("Event type"),
    permissions=[READ],
    calls=[TYPES, "webhooks GET /v1/webhook-endpoints"],
    sample="/event-types/job.created",
)
async def show_event_type(visit: Visit) -> Response:
    found = await visit.api.parts(
        types=visit.api.webhooks.get("/v1/event-types"),
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": 200}),
    )
    if (problem := found["types"].problem) is not None:
        raise problem
    one = next((one for one in found["types"]["data"] if one["name"] == visit.ids["name"]), None)
    endpoints = [] if found["endpoints"].answer is None else found["endpoints"]["data"]
    return render(
        visit,
        "pages/event_type.html",
        status=200 if one else 404,
        type=one,
        example=json.dumps(one["example"], indent=2, ensure_ascii=False) if one else "",
        schema=json.dumps(one["json_schema"], indent=2, ensure_ascii=False) if one else "",
        endpoints=endpoints,
        subscribed=[endpoint for endpoint in endpoints if one and wants(endpoint["event_types"], one["name"])],
    )
