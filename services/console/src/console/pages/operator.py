"""What those who run Waybill see: tenants, the end of their access, their volume, and how the services keep up.

An operator gives a platform key once; the console keeps it for an hour (`console.sessions`). In a tenant, all pages are its own.
"""

from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, secret, text
from console.gateway import Forbidden, Unauthorized
from console.health import health
from console.i18n import gettext as _
from console.i18n import mark, ngettext
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

STATUSES = (
    ("trialing", mark("Trial")),
    ("incomplete", mark("Waiting for payment")),
    ("active", mark("Paying")),
    ("past_due", mark("Past due")),
    ("unpaid", mark("Unpaid")),
    ("canceled", mark("Cancelled")),
    ("expired", mark("Trial over")),
)
TENANT_STATUSES = (("active", mark("Active")), ("suspended", mark("Suspended")), ("closed", mark("Closed")))
EXTENSIONS_DAYS = (7, 14, 30)
READ = "platform.tenants.read"
WRITE = "platform.tenants.write"


@pages.page("/operator/sign-in", title=mark("Operator"), audience="anybody")
async def show_operator_sign_in(visit: Visit) -> Response:
    return visit.render("pages/operator_sign_in.html", form_state=Form())


@pages.action("/operator/sign-in", title=mark("Operator"), audience="anybody")
async def sign_in_as_operator(visit: Visit) -> Response:
    form = await visit.form()
    key = form.document({"/key": secret}).get("key", "")
    replaces = visit.session.cookie if visit.session else None
    try:
        cookie = await visit.parts.sessions.begin_operation(key, visit.api.origin, replaces=replaces)
    except (Unauthorized, Forbidden):
        form.refuse("/key", _("This is no platform key that is in force."))
        return visit.render("pages/operator_sign_in.html", status=422, form_state=form)
    return visit.sign_in(visit.redirect("/operator"), cookie)


@pages.page(
    "/operator",
    title=mark("Tenants"),
    audience="operator",
    menu="operator",
    permissions=[READ],
    calls=["billing GET /v1/billing/tenants"],
)
async def list_by_end_of_access(visit: Visit) -> Response:
    statuses = [(value, _(label)) for value, label in STATUSES]
    table = TableQuery("/operator", visit.query, [Filter("status", _("Subscription"), statuses)])
    parts = await visit.api.parts(found=visit.api.billing.get("/v1/billing/tenants", query=table.asked))
    return visit.render("pages/operator.html", view="end", table=table, found=parts["found"], labels=dict(statuses))


@pages.page(
    "/operator/volume",
    title=mark("Tenants by volume"),
    audience="operator",
    permissions=[READ],
    calls=["identity GET /v1/busiest-tenants"],
    sample="/operator/volume?hours=24",
)
async def list_by_volume(visit: Visit) -> Response:
    parts = await visit.api.parts(found=visit.api.identity.get("/v1/busiest-tenants", query={"limit": 50}))
    return visit.render("pages/operator_volume.html", view="volume", found=parts["found"])


@pages.page(
    "/operator/status",
    title=mark("Tenants by status"),
    audience="operator",
    permissions=[READ],
    calls=["identity GET /v1/tenants"],
    sample="/operator/status?status=active",
)
async def list_by_status(visit: Visit) -> Response:
    statuses = [(value, _(label)) for value, label in TENANT_STATUSES]
    table = TableQuery("/operator/status", visit.query, [Filter("status", _("Status"), statuses)])
    parts = await visit.api.parts(found=visit.api.identity.get("/v1/tenants", query=table.asked))
    return visit.render(
        "pages/operator_status.html", view="status", table=table, found=parts["found"], labels=dict(statuses)
    )


@pages.page(
    "/operator/health",
    title=mark("How the services keep up"),
    audience="operator",
    sample="/operator/health?",
)
async def show_health(visit: Visit) -> Response:
    return visit.render(
        "pages/operator_health.html", view="health", services=await health(visit.api, visit.parts.metrics_path)
    )


@pages.page(
    "/operator/tenants/{tenant_id}",
    title=mark("Tenant"),
    audience="operator",
    permissions=[READ, "billing.read"],
    calls=[
        "identity GET /v1/tenants/{tenant_id}",
        "billing GET /v1/billing/subscription",
        "identity GET /v1/request-log/counts",
    ],
)
async def show_tenant(visit: Visit) -> Response:
    return await _shown(visit, Form())


@pages.action(
    "/operator/tenants/{tenant_id}/extend",
    audience="operator",
    permissions=["platform.billing.write", READ, "billing.read"],
    calls=[
        "billing POST /v1/billing/tenants/{tenant_id}/trial/extend",
        "identity GET /v1/tenants/{tenant_id}",
        "billing GET /v1/billing/subscription",
        "identity GET /v1/request-log/counts",
    ],
)
async def extend_trial(visit: Visit) -> Response:
    form = await visit.form()
    given = form.document({"/days": text, "/trial_ends_at": text})
    days = int(given["days"]) if str(given.get("days", "")).isdecimal() else EXTENSIONS_DAYS[0]
    ends_at = max(datetime.now(UTC), _instant(given.get("trial_ends_at"))) + timedelta(days=days)
    made = await form.send(
        visit.api.billing.post(
            "/v1/billing/tenants/{tenant_id}/trial/extend",
            {"trial_ends_at": ends_at.isoformat()},
            if_match=form.if_match,
            idempotency_key=form.idempotency_key,
            tenant_id=visit.ids["tenant_id"],
        )
    )
    if made is None:
        return await _shown(visit, form)
    message = _("The trial ends on {instant}.").format(instant=visit.words.instant(made["trial_ends_at"]))
    return visit.redirect(_address(visit), message=message)


@pages.action(
    "/operator/tenants/{tenant_id}/suspend",
    audience="operator",
    permissions=[WRITE],
    calls=["identity POST /v1/tenants/{tenant_id}/suspend"],
)
async def suspend_tenant(visit: Visit) -> Response:
    await visit.form()
    await visit.api.identity.post("/v1/tenants/{tenant_id}/suspend", tenant_id=visit.ids["tenant_id"])
    return visit.redirect(_address(visit), message=_("Suspended: all calls of this tenant are refused."))


@pages.action(
    "/operator/tenants/{tenant_id}/activate",
    audience="operator",
    permissions=[WRITE],
    calls=["identity POST /v1/tenants/{tenant_id}/activate"],
)
async def activate_tenant(visit: Visit) -> Response:
    await visit.form()
    await visit.api.identity.post("/v1/tenants/{tenant_id}/activate", tenant_id=visit.ids["tenant_id"])
    return visit.redirect(_address(visit), message=_("Active again."))


@pages.action(
    "/operator/tenants/{tenant_id}/enter",
    audience="operator",
    permissions=[READ],
    calls=["identity GET /v1/tenants/{tenant_id}"],
)
async def act_in_tenant(visit: Visit) -> Response:
    await visit.form()
    tenant = await visit.api.identity.get("/v1/tenants/{tenant_id}", tenant_id=visit.ids["tenant_id"])
    assert visit.session is not None
    await visit.parts.sessions.act_in(visit.session.cookie, tenant["id"])
    return visit.redirect("/")


@pages.action("/operator/leave", audience="operator")
async def leave_tenant(visit: Visit) -> Response:
    await visit.form()
    assert visit.session is not None
    await visit.parts.sessions.act_in(visit.session.cookie, None)
    return visit.redirect("/operator")


async def _shown(visit: Visit, form: Form) -> Response:
    api = visit.api
    tenant = await api.identity.get("/v1/tenants/{tenant_id}", tenant_id=visit.ids["tenant_id"])
    api.tenant_id = tenant["id"]
    parts = await api.parts(
        subscription=api.billing.get("/v1/billing/subscription"),
        counts=api.identity.get("/v1/request-log/counts", query={"hours": 24}),
    )
    subscription = parts["subscription"].answer
    if subscription is not None:
        form.if_match = form.if_match or subscription.etag
        form.compare(Form.of(subscription))
    return visit.render(
        "pages/operator_tenant.html",
        status=form.status,
        tenant=tenant,
        form_state=form,
        choices=[(days, ngettext("%(num)d day", "%(num)d days", days) % {"num": days}) for days in EXTENSIONS_DAYS],
        labels={value: _(label) for value, label in STATUSES},
        tenant_labels={value: _(label) for value, label in TENANT_STATUSES},
        **parts,
    )


def _address(visit: Visit) -> str:
    return f"/operator/tenants/{visit.ids['tenant_id']}"


def _instant(given: str | None) -> datetime:
    try:
        return datetime.fromisoformat(given or "")
    except ValueError:
        return datetime.now(UTC)
