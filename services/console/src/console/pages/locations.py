"""Locations: branches and warehouses; one is the default, and none is ever deleted."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, text
from console.gateway import Answer, Conflict, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

READ, WRITE = "settings.locations.read", "settings.locations.write"
LIST = "identity GET /v1/locations"
GET = "identity GET /v1/locations/{location_id}"
CREATE = "identity POST /v1/locations"
UPDATE = "identity PATCH /v1/locations/{location_id}"
ACTIVATE = "identity POST /v1/locations/{location_id}/activate"
DEACTIVATE = "identity POST /v1/locations/{location_id}/deactivate"
MERCHANT = "identity GET /v1/merchants/{merchant_id}"

FIELDS = {
    "/name": text,
    "/type": text,
    "/reference_id": text,
    "/timezone": text,
    "/address/line1": text,
    "/address/line2": text,
    "/address/postal_code": text,
    "/address/city": text,
    "/address/region": text,
    "/address/country": text,
}


@pages.page("/locations", title=mark("Locations"), permissions=(READ,), calls=(LIST,), menu="locations")
async def list_locations(visit: Visit) -> Response:
    active = Filter("active", _("Status"), [("true", _("Active")), ("false", _("Deactivated"))])
    table = TableQuery("/locations", visit.query, [active], search=True)
    found = await visit.api.identity.get("/v1/locations", query=table.asked)
    return visit.render("pages/locations/list.html", table=table, found=found)


@pages.page("/locations/new", title=mark("New location"), permissions=(WRITE,), calls=(CREATE,))
async def new_location(visit: Visit) -> Response:
    form = Form(values={"type": "branch", "timezone": visit.standing.tenant.get("timezone", "")})
    return visit.render("pages/locations/edit.html", form_state=form, location=None)


@pages.action("/locations/new", title=mark("New location"), permissions=(WRITE,), calls=(CREATE,))
async def create_location(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document(FIELDS)
    made = await form.send(visit.api.identity.post("/v1/locations", body, idempotency_key=form.idempotency_key))
    if made is None:
        return visit.render("pages/locations/edit.html", status=form.status, form_state=form, location=None)
    return visit.redirect(_address(made["id"]), message=_("%(name)s was created.") % {"name": made["name"]})


@pages.page(
    "/locations/{location_id}",
    title=mark("Location"),
    permissions=(READ,),
    calls=(GET,),
    sample="/locations/{location_id}",
)
async def show_location(visit: Visit) -> Response:
    return visit.render("pages/locations/show.html", location=await _location(visit), blocked=None, merchants=())


@pages.page(
    "/locations/{location_id}/edit",
    title=mark("Edit location"),
    permissions=(READ, WRITE),
    calls=(GET, UPDATE),
    sample="/locations/{location_id}/edit",
)
async def edit_location(visit: Visit) -> Response:
    location = await _location(visit)
    return visit.render("pages/locations/edit.html", form_state=Form.of(location), location=location)


@pages.action(
    "/locations/{location_id}/edit", title=mark("Edit location"), permissions=(READ, WRITE), calls=(GET, UPDATE)
)
async def update_location(visit: Visit) -> Response:
    form, location_id = await visit.form(), visit.ids["location_id"]
    patch = form.document(FIELDS, nulls=True)
    if not any(patch["address"].values()):
        patch["address"] = None
    changed = await form.send(
        visit.api.identity.patch("/v1/locations/{location_id}", patch, if_match=form.if_match, location_id=location_id)
    )
    if changed is None:
        location = await _location(visit)
        form.compare(Form.of(location), FIELDS)
        return visit.render("pages/locations/edit.html", status=form.status, form_state=form, location=location)
    return visit.redirect(_address(location_id), message=_("Saved."))


@pages.action("/locations/{location_id}/activate", permissions=(WRITE,), calls=(ACTIVATE,))
async def activate_location(visit: Visit) -> Response:
    await visit.form()
    changed = await visit.api.identity.post(
        "/v1/locations/{location_id}/activate", location_id=visit.ids["location_id"]
    )
    return visit.redirect(_address(changed["id"]), message=_("%(name)s is active again.") % {"name": changed["name"]})


@pages.action(
    "/locations/{location_id}/deactivate",
    title=mark("Location"),
    permissions=(READ, WRITE),
    optional=("settings.merchants.read",),
    calls=(GET, DEACTIVATE, MERCHANT),
)
async def deactivate_location(visit: Visit) -> Response:
    await visit.form()
    location_id = visit.ids["location_id"]
    try:
        changed = await visit.api.identity.post("/v1/locations/{location_id}/deactivate", location_id=location_id)
    except Conflict as blocked:
        merchants = await _merchants(visit, blocked.body.get("merchant_ids", ()))
        location = await _location(visit)
        return visit.render(
            "pages/locations/show.html", status=blocked.status, location=location, blocked=blocked, merchants=merchants
        )
    return visit.redirect(_address(location_id), message=_("%(name)s was deactivated.") % {"name": changed["name"]})


async def _merchants(visit: Visit, merchant_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """The merchants that need the location: by their names, where the person may read them."""

    async def one(merchant_id: str) -> Mapping[str, Any]:
        found: Part = await visit.api.part(
            visit.api.identity.get("/v1/merchants/{merchant_id}", merchant_id=merchant_id)
        )
        name = found["business_name"] if found.answer is not None else merchant_id
        return {"id": merchant_id, "name": name}

    return await asyncio.gather(*(one(merchant_id) for merchant_id in merchant_ids))


async def _location(visit: Visit) -> Answer:
    return await visit.api.identity.get("/v1/locations/{location_id}", location_id=visit.ids["location_id"])


def _address(location_id: str) -> str:
    return f"/locations/{location_id}"
