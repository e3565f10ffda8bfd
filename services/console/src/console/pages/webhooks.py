"""Webhooks by location, and one endpoint: its state, its subscription, its secret, a test, its latest deliveries."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, boolean, lines, secret, several, text
from console.gateway import Answer, Forbidden, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.webhook_words import cause_text, duration, events_of, is_future, places_of, state_sentences
from console.visits import Visit

pages = Pages()

READ, WRITE, REPLAY = "settings.webhooks.read", "settings.webhooks.write", "settings.webhooks.replay"
HEALTH = "webhooks GET /v1/webhook-health"
LOCATIONS = "webhooks GET /v1/webhook-locations"
ENDPOINTS = "webhooks GET /v1/webhook-endpoints"
ENDPOINT = "webhooks GET /v1/webhook-endpoints/{endpoint_id}"
TYPES = "webhooks GET /v1/event-types"
PREVIEW = "webhooks POST /v1/webhook-endpoints/preview-match"
DELIVERIES = "webhooks GET /v1/deliveries"
NOW_CALLS = [ENDPOINT, "webhooks GET /v1/webhook-endpoints/{endpoint_id}/health", DELIVERIES]
STEP_UP = "identity POST /v1/auth/step-up"
RECENT = 12
ENDPOINTS_SHOWN = 200


def locations(values: Sequence[str]) -> str | list[str]:
    """The chosen locations, or `*` for all."""
    return "*" if "*" in values else several(values)


def seconds(values: Sequence[str]) -> list[float | str] | None:
    """Numbers between commas; what is none is sent as it is, for the service to say so."""
    given = text(values)
    return None if given is None else [_number(part.strip()) for part in given.split(",")]


def rate(values: Sequence[str]) -> float | str | None:
    given = text(values)
    return None if given is None else _number(given)


def headers(values: Sequence[str]) -> dict[str, str]:
    """`Name: value`, one in a line."""
    pairs = (line.partition(":") for line in lines(values))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _number(given: str) -> float | str:
    try:
        return float(given)
    except ValueError:
        return given


SUBSCRIPTION = {"/event_types": several, "/location_ids": locations}
FIELDS = {
    "/url": text,
    "/description": text,
    **SUBSCRIPTION,
    "/headers": headers,
    "/retry_schedule_seconds": seconds,
    "/rate_limit_per_second": rate,
    "/ordered_by_job": boolean,
    "/sign_v1a": boolean,
}


@pages.page("/webhooks", title=mark("Webhooks"), menu="webhooks", permissions=[READ], calls=[HEALTH, ENDPOINTS])
async def list_webhooks(visit: Visit) -> Response:
    found = await visit.api.parts(
        health=visit.api.webhooks.get("/v1/webhook-health"),
        endpoints=visit.api.webhooks.get("/v1/webhook-endpoints", query={"limit": ENDPOINTS_SHOWN}),
    )
    if (problem := found["endpoints"].problem) is not None:
        raise problem
    endpoints = {one["id"]: one for one in found["endpoints"]["data"]}
    health, places = found["health"], []
    figures: dict[str, Any] = {}
    if health.answer is not None:
        figures = {one["endpoint_id"]: one for one in health["endpoints"]}
        places = health["locations"]
    return render(visit, "pages/webhooks.html", health=health, endpoints=endpoints, figures=figures, places=places)


@pages.page(
    "/webhooks/new",
    title=mark("New endpoint"),
    permissions=[READ, WRITE],
    calls=[LOCATIONS, TYPES, "webhooks POST /v1/webhook-endpoints"],
)
async def show_new_endpoint(visit: Visit) -> Response:
    chosen = visit.query.get("location")
    values = {"event_types": ["*"], "location_ids": [chosen] if chosen else ["*"]}
    return await _show_form(visit, Form(values=values))


@pages.action(
    "/webhooks/new",
    title=mark("New endpoint"),
    permissions=[READ, WRITE],
    calls=[LOCATIONS, TYPES, "webhooks POST /v1/webhook-endpoints"],
)
async def create_endpoint(visit: Visit) -> Response:
    form = await visit.form()
    made = await form.send(
        visit.api.webhooks.post("/v1/webhook-endpoints", form.document(FIELDS), idempotency_key=form.idempotency_key)
    )
    if made is None:
        return await _show_form(visit, form)
    return visit.redirect(f"/webhooks/{made['id']}", message=_("Created. Reveal its secret to set up your receiver."))


@pages.action("/webhooks/preview", permissions=[READ], calls=[LOCATIONS, TYPES, PREVIEW])
async def preview_match(visit: Visit) -> Response:
    form = await visit.form()
    asked = {**form.document(SUBSCRIPTION), **_yesterday(visit)}
    found = await form.send(visit.api.webhooks.post("/v1/webhook-endpoints/preview-match", asked))
    if visit.is_fragment:
        return render(visit, "parts/match_preview.html", preview=found, form_state=form)
    return await _show_form(visit, form, preview=found, endpoint_id=form.plain("endpoint_id"))


def _yesterday(visit: Visit) -> dict[str, str]:
    """Yesterday, where the reader is."""
    today = datetime.now(visit.words.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    since = (today - timedelta(days=1)).astimezone(UTC).isoformat()
    return {"since": since, "until": today.astimezone(UTC).isoformat()}


@pages.page(
    "/webhooks/{endpoint_id}",
    title=mark("Endpoint"),
    permissions=[READ],
    calls=[*NOW_CALLS, LOCATIONS, TYPES],
    sample="/webhooks/{endpoint_id}",
)
async def show_endpoint(visit: Visit) -> Response:
    return await _show_endpoint(visit)


@pages.fragment("/webhooks/{endpoint_id}/now", permissions=[READ], calls=NOW_CALLS)
async def show_endpoint_now(visit: Visit) -> Response:
    """What changes by itself: the state and the latest deliveries."""
    return render(visit, "parts/endpoint_now.html", **await _endpoint_now(visit))


@pages.fragment("/webhooks/{endpoint_id}/yesterday", permissions=[READ], calls=[ENDPOINT, PREVIEW])
async def show_yesterday(visit: Visit) -> Response:
    """How many of yesterday's events its subscription matches."""
    endpoint = await visit.api.webhooks.get("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=visit.ids["endpoint_id"])
    asked = {name: endpoint[name] for name in ("event_types", "location_ids")}
    found = await visit.api.webhooks.post("/v1/webhook-endpoints/preview-match", {**asked, **_yesterday(visit)})
    return render(visit, "parts/match_preview.html", preview=found, form_state=Form())


@pages.page(
    "/webhooks/{endpoint_id}/edit",
    title=mark("Edit endpoint"),
    permissions=[READ, WRITE],
    calls=[ENDPOINT, LOCATIONS, TYPES, "webhooks PATCH /v1/webhook-endpoints/{endpoint_id}"],
    sample="/webhooks/{endpoint_id}/edit",
)
async def show_endpoint_form(visit: Visit) -> Response:
    endpoint = await visit.api.webhooks.get("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=visit.ids["endpoint_id"])
    return await _show_form(visit, _as_entered(endpoint), endpoint_id=visit.ids["endpoint_id"])


def _as_entered(endpoint: Answer) -> Form:
    """An endpoint as its form shows it."""
    rate_limit = endpoint["rate_limit_per_second"]
    shown = {
        **endpoint.body,
        "location_ids": ["*"] if endpoint["location_ids"] == "*" else endpoint["location_ids"],
        "headers": "\n".join(f"{name}: {value}" for name, value in endpoint["headers"].items()),
        "rate_limit_per_second": None if rate_limit is None else f"{rate_limit:g}",
        "retry_schedule_seconds": ", ".join(f"{one:g}" for one in endpoint["retry_schedule_seconds"] or []) or None,
    }
    return Form.of(shown, if_match=endpoint.etag)


@pages.action(
    "/webhooks/{endpoint_id}/edit",
    title=mark("Edit endpoint"),
    permissions=[READ, WRITE],
    calls=[LOCATIONS, TYPES, ENDPOINT, "webhooks PATCH /v1/webhook-endpoints/{endpoint_id}"],
)
async def update_endpoint(visit: Visit) -> Response:
    form, path = await visit.form(), "/v1/webhook-endpoints/{endpoint_id}"
    wanted = form.document(FIELDS, nulls=True)
    # Of headers a patch changes what it names: those that are gone are named with null.
    known = await visit.api.webhooks.get(path, endpoint_id=visit.ids["endpoint_id"])
    wanted["headers"] = {**dict.fromkeys(known["headers"]), **wanted["headers"]}
    saved = await form.send(
        visit.api.webhooks.patch(path, wanted, if_match=form.if_match, endpoint_id=visit.ids["endpoint_id"])
    )
    if saved is None:
        form.compare(_as_entered(known), FIELDS)
        return await _show_form(visit, form, endpoint_id=visit.ids["endpoint_id"])
    return visit.redirect(f"/webhooks/{visit.ids['endpoint_id']}", message=_("Saved."))


@pages.action(
    "/webhooks/{endpoint_id}/test",
    title=mark("Endpoint"),
    permissions=[READ, WRITE],
    calls=[*NOW_CALLS, LOCATIONS, TYPES, "webhooks POST /v1/webhook-endpoints/{endpoint_id}/test"],
)
async def test_endpoint(visit: Visit) -> Response:
    form = await visit.form()
    tested = await form.send(
        visit.api.webhooks.post("/v1/webhook-endpoints/{endpoint_id}/test", endpoint_id=visit.ids["endpoint_id"])
    )
    return await _show_endpoint(visit, tested=tested, form_state=form, status=form.status)


@pages.action(
    "/webhooks/{endpoint_id}/enable",
    permissions=[WRITE],
    calls=["webhooks POST /v1/webhook-endpoints/{endpoint_id}/enable"],
)
async def enable_endpoint(visit: Visit) -> Response:
    form = await visit.form()
    missed = "true" if form.plain("missed") else None
    path = "/v1/webhook-endpoints/{endpoint_id}/enable"
    done = await visit.api.webhooks.post(path, query={"replay_missed": missed}, endpoint_id=visit.ids["endpoint_id"])
    replay = done.get("replay_id")
    message = _("Enabled. What it missed is being sent.") if replay else _("Enabled.")
    return visit.redirect(f"/webhooks/{visit.ids['endpoint_id']}", message=message)


@pages.action(
    "/webhooks/{endpoint_id}/disable",
    permissions=[WRITE],
    calls=["webhooks POST /v1/webhook-endpoints/{endpoint_id}/disable"],
)
async def disable_endpoint(visit: Visit) -> Response:
    await visit.form()
    await visit.api.webhooks.post("/v1/webhook-endpoints/{endpoint_id}/disable", endpoint_id=visit.ids["endpoint_id"])
    return visit.redirect(f"/webhooks/{visit.ids['endpoint_id']}", message=_("Disabled. It gets no events."))


@pages.action(
    "/webhooks/{endpoint_id}/delete",
    permissions=[WRITE],
    calls=["webhooks DELETE /v1/webhook-endpoints/{endpoint_id}"],
)
async def delete_endpoint(visit: Visit) -> Response:
    await visit.form()
    await visit.api.webhooks.delete("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=visit.ids["endpoint_id"])
    return visit.redirect("/webhooks", message=_("The endpoint is deleted."))


_SECRET_CALLS = [
    STEP_UP,
    ENDPOINT,
    "webhooks GET /v1/webhook-endpoints/{endpoint_id}/secret",
    "webhooks POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret",
    "webhooks POST /v1/webhook-endpoints/{endpoint_id}/end-secret-overlap",
]


@pages.page(
    "/webhooks/{endpoint_id}/secret",
    title=mark("Signing secret"),
    permissions=[READ, WRITE],
    calls=_SECRET_CALLS,
    sample="/webhooks/{endpoint_id}/secret",
)
async def show_secret_form(visit: Visit) -> Response:
    return await _show_secret(visit, Form(values={"overlap": "86400"}))


@pages.action(
    "/webhooks/{endpoint_id}/secret", title=mark("Signing secret"), permissions=[READ, WRITE], calls=_SECRET_CALLS
)
async def use_secret(visit: Visit) -> Response:
    """Reveal or rotate the secret, or end the overlap: each asks for the password."""
    form, path = await visit.form(), "/v1/webhook-endpoints/{endpoint_id}"
    again = {"password": "", **form.document({"/password": secret, "/code": text})}
    shown: Answer | None = None
    try:
        stepped = await form.send(visit.api.identity.post("/v1/auth/step-up", again))
        if stepped is not None:
            visit.api.token = stepped["token"]
            match form.plain("do"):
                case "rotate":
                    overlap = {"overlap_seconds": int(form.plain("/overlap") or 0)}
                    shown = await form.send(
                        visit.api.webhooks.post(f"{path}/rotate-secret", overlap, endpoint_id=visit.ids["endpoint_id"])
                    )
                case "end":
                    await form.send(
                        visit.api.webhooks.post(f"{path}/end-secret-overlap", endpoint_id=visit.ids["endpoint_id"])
                    )
                case _:
                    shown = await form.send(
                        visit.api.webhooks.get(f"{path}/secret", endpoint_id=visit.ids["endpoint_id"])
                    )
    except Forbidden as problem:
        form.refused(problem)
    if form.problem is None and shown is None:
        return visit.redirect(
            f"/webhooks/{visit.ids['endpoint_id']}", message=_("Only the present secret signs from now on.")
        )
    return await _show_secret(visit, form, shown)


async def _show_secret(visit: Visit, form: Form, shown: Answer | None = None) -> Response:
    endpoint = await visit.api.webhooks.get("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=visit.ids["endpoint_id"])
    return render(
        visit,
        "pages/endpoint_secret.html",
        status=form.status,
        endpoint=endpoint.body,
        form_state=form,
        shown=shown,
        overlaps=is_future(endpoint["previous_secret_until"]),
    )


async def _show_form(visit: Visit, form: Form, *, endpoint_id: str = "", preview: Answer | None = None) -> Response:
    found = await visit.api.parts(
        locations=visit.api.webhooks.get("/v1/webhook-locations"), types=visit.api.webhooks.get("/v1/event-types")
    )
    types = [] if found["types"].answer is None else [one for one in found["types"]["data"] if one["is_delivered"]]
    names = [one["name"] for one in types if one["name"] != "webhook.test"]
    families = [[("*", _("All events, new types too"))]]
    for prefix in sorted({name.partition(".")[0] for name in names}):
        whole = (f"{prefix}.*", _("All of %(prefix)s") % {"prefix": f"{prefix}.*"})
        families.append([whole, *((name, name) for name in names if name.partition(".")[0] == prefix)])
    places = [("*", _("All locations, new ones too"))]
    if found["locations"].answer is not None:
        places += [(one["location_id"], one["name"]) for one in found["locations"]["data"]]
    return render(
        visit,
        "pages/endpoint_form.html",
        status=form.status,
        form_state=form,
        endpoint_id=endpoint_id,
        preview=preview,
        families=families,
        places=places,
        missing_parts=[part.problem for part in found.values() if part.problem],
    )


async def _show_endpoint(visit: Visit, *, status: int = 200, **more: Any) -> Response:
    now, known = await asyncio.gather(
        _endpoint_now(visit),
        visit.api.parts(
            types=visit.api.webhooks.get("/v1/event-types"), locations=visit.api.webhooks.get("/v1/webhook-locations")
        ),
    )
    types, locations = ([] if part.answer is None else part["data"] for part in known.values())
    events = events_of(now["endpoint"]["event_types"], types)
    places = places_of(now["endpoint"]["location_ids"], locations)
    content = {"tested": None, "form_state": None, "events": events, "places": places, **now, **more}
    return render(visit, "pages/endpoint.html", status=status, **content)


async def _endpoint_now(visit: Visit) -> dict[str, Any]:
    api = visit.api
    endpoint = await api.webhooks.get("/v1/webhook-endpoints/{endpoint_id}", endpoint_id=visit.ids["endpoint_id"])
    recent = {"endpoint_id": visit.ids["endpoint_id"], "limit": RECENT}
    health_path = "/v1/webhook-endpoints/{endpoint_id}/health"
    found = await api.parts(
        health=api.webhooks.get(health_path, endpoint_id=endpoint["id"]),
        deliveries=api.webhooks.get("/v1/deliveries", query=recent),
    )
    health = found["health"].answer
    figures = None if health is None else health.body
    return {
        "endpoint": endpoint.body,
        "figures": figures,
        "health": found["health"],
        "deliveries": found["deliveries"],
        "sentences": state_sentences(visit, endpoint.body, figures, _latest_failure(found["deliveries"])),
        "overlaps": is_future(endpoint["previous_secret_until"]),
    }


def _latest_failure(deliveries: Part) -> Mapping[str, Any] | None:
    listed = [] if deliveries.answer is None else deliveries["data"]
    return next((one for one in listed if one["status"] != "delivered" and one["cause"]), None)


def render(visit: Visit, template: str, **content: Any) -> Response:
    """A page with what templates of webhooks say things with."""
    return visit.render(template, duration=duration, is_future=is_future, cause_text=cause_text, **content)
