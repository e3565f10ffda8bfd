"""The company: its name and zone, what it asks of its people, and who owns it."""

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, boolean, integer, text
from console.i18n import gettext as _
from console.i18n import mark
from console.visits import Visit

pages = Pages()

READS = ("identity GET /v1/tenant", "identity GET /v1/tenant/settings", "identity GET /v1/staff")
NOTICES = {
    "new_sign_in": mark("A sign-in from a new place"),
    "key_revealed": mark("An Auth Key was revealed"),
    "key_rotated": mark("An Auth Key was rotated"),
    "trial_will_end": mark("The trial ends soon"),
    "trial_ended": mark("The trial has ended"),
    "payment_failed": mark("A payment failed"),
    "invoice": mark("A new invoice"),
    "endpoint_warned": mark("A webhook endpoint keeps failing"),
    "endpoint_disabled": mark("A webhook endpoint was disabled"),
}
COMPANY = {"/name": text, "/timezone": text}
SETTINGS = {
    "/job_review": boolean,
    "/reveal": text,
    "/second_factor": text,
    "/session_days": integer,
    **{f"/notices/{name}": boolean for name in NOTICES},
}


@pages.page(
    "/settings/company",
    title=mark("Company"),
    menu="company",
    permissions=("settings.tenant.write",),
    optional=("settings.staff.read",),
    calls=(*READS, "identity PATCH /v1/tenant"),
)
async def show_company(visit: Visit) -> Response:
    return await _shown(visit)


@pages.action(
    "/settings/company",
    title=mark("Company"),
    permissions=("settings.tenant.write",),
    optional=("settings.staff.read",),
    calls=(*READS, "identity PATCH /v1/tenant"),
)
async def change_company(visit: Visit) -> Response:
    form = await visit.form()
    changed = await form.send(visit.api.identity.patch("/v1/tenant", form.document(COMPANY), if_match=form.if_match))
    if changed is None:
        return await _shown(visit, company=form)
    return visit.redirect("/settings/company", message=_("Saved."))


@pages.action(
    "/settings/company/settings",
    title=mark("Company"),
    permissions=("settings.tenant.write",),
    optional=("settings.staff.read",),
    calls=(*READS, "identity PATCH /v1/tenant/settings"),
)
async def change_settings(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document(SETTINGS)
    changed = await form.send(visit.api.identity.patch("/v1/tenant/settings", body, if_match=form.if_match))
    if changed is None:
        return await _shown(visit, settings=form)
    return visit.redirect("/settings/company", message=_("Saved."))


@pages.action(
    "/settings/company/owner",
    title=mark("Company"),
    optional=("settings.staff.read",),
    calls=(*READS, "identity POST /v1/tenant/transfer-ownership"),
)
async def transfer_ownership(visit: Visit) -> Response:
    form = await visit.form()
    if not form.checked("/sure"):
        form.refuse("/sure", _("Say that you are sure."))
        return await _shown(visit, transfer=form)
    body = form.document({"/user_id": text})
    done = await form.send(visit.api.identity.post("/v1/tenant/transfer-ownership", body))
    if done is None:
        return await _shown(visit, transfer=form)
    return visit.redirect("/", message=_("The company has a new owner."))


async def _shown(
    visit: Visit, *, company: Form | None = None, settings: Form | None = None, transfer: Form | None = None
) -> Response:
    found = await visit.api.parts(
        tenant=visit.api.identity.get("/v1/tenant"),
        settings=visit.api.identity.get("/v1/tenant/settings"),
        **(
            {"staff": visit.api.identity.get("/v1/staff", query={"limit": 100, "status": "active"})}
            if visit.standing.is_owner and visit.standing.holds("settings.staff.read")
            else {}
        ),
    )
    forms = {"company": company, "settings": settings, "transfer": transfer or Form()}
    for name, part, fields in (("company", found["tenant"], COMPANY), ("settings", found["settings"], SETTINGS)):
        if part.answer is None:
            continue
        if (sent := forms[name]) is None:
            forms[name] = Form.of(part.answer)
        else:
            sent.compare(Form.of(part.answer), fields)
    status = next((form.status for form in (company, settings, transfer) if form is not None), 200)
    if transfer is not None and transfer.problem is None:
        status = 422
    staff = found["staff"]["data"] if "staff" in found and found["staff"].answer is not None else []
    people = [(one["id"], one["email"]) for one in staff if one["id"] != visit.person["id"]]
    return visit.render("pages/company.html", status=status, found=found, notices=NOTICES, people=people, **forms)
