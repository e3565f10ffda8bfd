"""Merchants: the list with API access as a switch, one merchant, and what ends its access."""

import asyncio
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, boolean, integer, secret, several, text
from console.gateway import Answer, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.audit import NAMES_MAX, STAFF, changes, short
from console.pages.job_words import STATUSES, TYPES
from console.pages.receipts import after_revocation
from console.pages.staff import names_in
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

READ, WRITE, ACCESS = "settings.merchants.read", "settings.merchants.write", "settings.merchants.api_access"
LIST = "identity GET /v1/merchants"
GET = "identity GET /v1/merchants/{merchant_id}"
CREATE = "identity POST /v1/merchants"
UPDATE = "identity PATCH /v1/merchants/{merchant_id}"
DISABLE = "identity POST /v1/merchants/{merchant_id}/disable"
ENABLE = "identity POST /v1/merchants/{merchant_id}/enable"
LOCATIONS = "identity GET /v1/locations"
COUNTS = "identity GET /v1/request-log/counts"
JOBS = "jobs GET /v1/jobs"
AUDIT = "identity GET /v1/audit-events"
SAMPLE = "/merchants/{merchant_id}"

LOCATIONS_MAX = 200
RECENT_ROWS = 25

FIELDS = {
    "/business_name": text,
    "/login_email": text,
    "/contact_email": text,
    "/phone": text,
    "/reference_id": text,
    "/language": text,
    "/address/line1": text,
    "/address/line2": text,
    "/address/postal_code": text,
    "/address/city": text,
    "/address/region": text,
    "/address/country": text,
    "/location_ids": several,
    "/default_location_id": text,
}
NEW = {**FIELDS, "/level": integer, "/api_access": boolean, "/password": secret}


@pages.page("/merchants", title=mark("Merchants"), permissions=(READ,), calls=(LIST,), menu="merchants")
async def list_merchants(visit: Visit) -> Response:
    table = TableQuery("/merchants", visit.query, filters(), search=True)
    found = await visit.api.identity.get("/v1/merchants", query=table.asked)
    return visit.render("pages/merchants/list.html", table=table, found=found)


@pages.page(
    "/merchants/new",
    title=mark("New merchant"),
    permissions=(WRITE, "settings.locations.read"),
    calls=(LOCATIONS, CREATE),
)
async def new_merchant(visit: Visit) -> Response:
    locations = await _locations(visit)
    first = [location_id for location_id, _name in locations[:1]]
    form = Form(values={"level": 1, "location_ids": first, "default_location_id": first[0] if first else None})
    return visit.render("pages/merchants/edit.html", form_state=form, locations=locations, merchant=None)


@pages.action(
    "/merchants/new",
    title=mark("New merchant"),
    permissions=(WRITE, "settings.locations.read"),
    calls=(CREATE, LOCATIONS),
)
async def create_merchant(visit: Visit) -> Response:
    form = await visit.form()
    body = _with_address(form.document(NEW))
    made = await form.send(visit.api.identity.post("/v1/merchants", body, idempotency_key=form.idempotency_key))
    if made is None:
        locations = await _locations(visit)
        return visit.render(
            "pages/merchants/edit.html", status=form.status, form_state=form, locations=locations, merchant=None
        )
    if made["invitation_token"]:
        return visit.render("pages/merchants/invited.html", merchant=made)
    said = _("%(name)s was created.") if body.get("password") else _("%(name)s was created and invited by mail.")
    return visit.redirect(address_of(made["id"]), message=said % {"name": made["business_name"]})


@pages.page(
    SAMPLE,
    title=mark("Merchant"),
    permissions=(READ,),
    optional=("settings.locations.read",),
    calls=(GET, LOCATIONS),
    sample=SAMPLE,
)
async def show_merchant(visit: Visit) -> Response:
    merchant_id = visit.ids["merchant_id"]
    merchant, locations = await asyncio.gather(
        visit.api.identity.get("/v1/merchants/{merchant_id}", merchant_id=merchant_id),
        visit.api.part(visit.api.identity.get("/v1/locations", query={"limit": LOCATIONS_MAX})),
    )
    names = {one["id"]: one["name"] for one in locations["data"]} if locations.answer else {}
    return visit.render("pages/merchants/overview.html", merchant=merchant, names=names, tab="overview")


@pages.page(
    "/merchants/{merchant_id}/edit",
    title=mark("Edit merchant"),
    permissions=(READ, WRITE, "settings.locations.read"),
    calls=(GET, LOCATIONS, UPDATE),
    sample="/merchants/{merchant_id}/edit",
)
async def edit_merchant(visit: Visit) -> Response:
    merchant, locations = await asyncio.gather(merchant_of(visit), _locations(visit))
    return visit.render(
        "pages/merchants/edit.html", form_state=Form.of(merchant), locations=locations, merchant=merchant
    )


@pages.action(
    "/merchants/{merchant_id}/edit",
    title=mark("Edit merchant"),
    permissions=(READ, WRITE, "settings.locations.read"),
    calls=(GET, UPDATE, LOCATIONS),
)
async def update_merchant(visit: Visit) -> Response:
    form, merchant_id = await visit.form(), visit.ids["merchant_id"]
    patch = _with_address(form.document(FIELDS, nulls=True))
    changed = await form.send(
        visit.api.identity.patch("/v1/merchants/{merchant_id}", patch, if_match=form.if_match, merchant_id=merchant_id)
    )
    if changed is None:
        merchant, locations = await asyncio.gather(merchant_of(visit), _locations(visit))
        form.compare(Form.of(merchant), FIELDS)
        return visit.render(
            "pages/merchants/edit.html", status=form.status, form_state=form, locations=locations, merchant=merchant
        )
    pending = changed.get("pending_email")
    said = _("Saved. The new e-mail address counts once the mail to it was answered.") if pending else _("Saved.")
    return visit.redirect(address_of(merchant_id), message=said)


@pages.page(
    "/merchants/{merchant_id}/deactivate",
    title=mark("Deactivate merchant"),
    permissions=(READ, WRITE),
    calls=(GET, COUNTS, DISABLE),
    sample="/merchants/{merchant_id}/deactivate",
)
async def confirm_deactivation(visit: Visit) -> Response:
    merchant = await merchant_of(visit)
    if merchant["api_access"]:
        text = _(
            "It can no longer sign in, its sessions end, and its API access is revoked, at once and in every service. Its jobs stay. "
            "Activating it again does not restore API access."
        )
    else:
        text = _("It can no longer sign in, and its sessions end at once. Its jobs stay.")
    title = _("Deactivate %(name)s?") % {"name": merchant["business_name"]}
    return await confirm(visit, merchant, title, text, _("Deactivate"), back=address_of(merchant["id"]))


@pages.action("/merchants/{merchant_id}/deactivate", permissions=(WRITE,), calls=(DISABLE,))
async def deactivate_merchant(visit: Visit) -> Response:
    await visit.form()
    merchant_id = visit.ids["merchant_id"]
    answer = await visit.api.identity.post("/v1/merchants/{merchant_id}/disable", merchant_id=merchant_id)
    said = _("%(name)s was deactivated.") % {"name": answer["business_name"]}
    return after_revocation(visit, answer, back=address_of(merchant_id), message=said)


@pages.action("/merchants/{merchant_id}/activate", permissions=(WRITE,), calls=(ENABLE,))
async def activate_merchant(visit: Visit) -> Response:
    await visit.form()
    answer = await visit.api.identity.post("/v1/merchants/{merchant_id}/enable", merchant_id=visit.ids["merchant_id"])
    said = _("%(name)s is active again.") % {"name": answer["business_name"]}
    return visit.redirect(address_of(answer["id"]), message=said)


@pages.page(
    "/merchants/{merchant_id}/jobs",
    title=mark("Jobs of a merchant"),
    permissions=(READ, "orders.jobs.read"),
    calls=(GET, JOBS),
    sample="/merchants/{merchant_id}/jobs",
)
async def show_jobs(visit: Visit) -> Response:
    merchant_id = visit.ids["merchant_id"]
    table = TableQuery(f"{address_of(merchant_id)}/jobs", visit.query)
    asked = {"merchant_id": merchant_id, "cursor": table.cursor, "limit": RECENT_ROWS}
    merchant, found = await asyncio.gather(
        merchant_of(visit), visit.api.part(visit.api.jobs.get("/v1/jobs", query=asked))
    )
    return visit.render(
        "pages/merchants/jobs.html",
        merchant=merchant,
        tab="jobs",
        table=table,
        found=found,
        statuses=STATUSES,
        types=TYPES,
    )


@pages.page(
    "/merchants/{merchant_id}/activity",
    title=mark("Activity of a merchant"),
    permissions=(READ, "settings.audit.read"),
    optional=("settings.staff.read",),
    calls=(GET, AUDIT, STAFF),
    sample="/merchants/{merchant_id}/activity",
)
async def show_activity(visit: Visit) -> Response:
    merchant_id = visit.ids["merchant_id"]
    table = TableQuery(f"{address_of(merchant_id)}/activity", visit.query)
    asked = {"target": merchant_id, "cursor": table.cursor, "limit": RECENT_ROWS}
    merchant, parts = await asyncio.gather(
        merchant_of(visit),
        visit.api.parts(
            found=visit.api.identity.get("/v1/audit-events", query=asked),
            staff=visit.api.identity.get("/v1/staff", query={"limit": NAMES_MAX}),
        ),
    )
    return visit.render(
        "pages/merchants/activity.html",
        merchant=merchant,
        tab="activity",
        table=table,
        found=parts["found"],
        names={**names_in(parts["staff"]), merchant_id: merchant["business_name"]},
        changes=changes,
        short=short,
    )


def filters() -> list[Filter]:
    return [
        Filter("level", _("Level"), [("1", _("Level 1")), ("2", _("Level 2"))]),
        Filter("api_access", _("API access"), [("true", _("On")), ("false", _("Off"))]),
        Filter("status", _("Status"), [("active", _("Active")), ("disabled", _("Deactivated"))]),
    ]


def address_of(merchant_id: str) -> str:
    return f"/merchants/{merchant_id}"


async def merchant_of(visit: Visit) -> Answer:
    return await visit.api.identity.get("/v1/merchants/{merchant_id}", merchant_id=visit.ids["merchant_id"])


async def _locations(visit: Visit) -> list[tuple[str, str]]:
    """The active locations, as choices of a form; the default first."""
    found = await visit.api.identity.get("/v1/locations", query={"active": "true", "limit": LOCATIONS_MAX})
    return [(one["id"], one["name"]) for one in sorted(found["data"], key=lambda one: not one["is_default"])]


async def confirm(visit: Visit, merchant: Answer, title: str, text: str, button: str, *, back: str) -> Response:
    """Ask before something ends; without a button there is nothing to end."""
    counts = await counts_of(visit, merchant)
    return visit.render(
        "pages/merchants/confirm.html",
        merchant=merchant,
        counts=counts,
        form_state=Form(),
        title=title,
        text=text,
        button=button,
        back=back,
    )


async def counts_of(visit: Visit, merchant: Answer) -> Part | None:
    """The requests of the last day with the merchant's credentials."""
    if not merchant["api_account_id"]:
        return None
    asked = {"credential_id": merchant["api_account_id"]}
    return await visit.api.part(visit.api.identity.get("/v1/request-log/counts", query=asked))


def _with_address(body: dict[str, Any]) -> dict[str, Any]:
    """An address of which nothing is filled in is none."""
    if "address" in body and not any(body["address"].values()):
        body["address"] = None
    return body
