"""Billing: how the subscription stands, plans with what they cost today, payment methods, invoices, and the clock of a test company."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, integer, text
from console.gateway import Answer, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.pages import billing_awaited as awaited
from console.pages.billing_awaited import SUBSCRIPTION
from console.pages.billing_words import FEATURES, INTERVALS, INVOICES, TAXES, plan_name, state_of
from console.tables import TableQuery
from console.visits import Visit

pages = Pages()

READ, MANAGE = "billing.read", "billing.manage"
PLANS = "billing GET /v1/billing/plans"
PREVIEW = "billing POST /v1/billing/subscription/preview"
DETAILS = "billing GET /v1/billing/details"
INVOICES_OF = "billing GET /v1/billing/invoices"
METHODS = "billing GET /v1/billing/payment-methods"
CANCEL = "billing POST /v1/billing/subscription/cancel"
CLOCK = "billing GET /v1/billing/test-clock"
OVERVIEW = (SUBSCRIPTION, PLANS, PREVIEW, DETAILS, INVOICES_OF, METHODS, CLOCK, awaited.CHECKOUT)
BUYING = (SUBSCRIPTION, PLANS, PREVIEW, METHODS)
HOME = "/billing"
INVOICES_SHOWN = 5
METHODS_MAX = 100


@pages.page(HOME, title=mark("Billing"), menu="billing", permissions=(READ,), optional=(MANAGE,), calls=OVERVIEW)
async def show_billing(visit: Visit) -> Response:
    return await _shown(visit)


@pages.page(
    "/billing/plans/{plan}",
    title=mark("Choose a plan"),
    permissions=(READ, MANAGE),
    calls=BUYING,
    sample="/billing/plans/starter_monthly",
)
async def show_plan(visit: Visit) -> Response:
    return await _plan_shown(visit, Form())


@pages.action(
    "/billing/plans/{plan}",
    title=mark("Choose a plan"),
    permissions=(READ, MANAGE),
    calls=(*BUYING, "billing POST /v1/billing/subscription"),
)
async def buy_plan(visit: Visit) -> Response:
    form = await visit.form()
    body = {"plan": visit.ids["plan"]} | form.document({"/payment_method": text, "/expected_amount_due": integer})
    path = "/v1/billing/subscription"
    sent = visit.api.billing.post(path, body, if_match=form.if_match, idempotency_key=form.idempotency_key)
    bought = await form.send(sent)
    if bought is None:
        return await _plan_shown(visit, form)
    if "payment_method" not in body:
        return visit.redirect(HOME, message=_("Bought. Pay the invoice below, and the plan begins."))
    charged = _("Bought. The payment is under way, and access goes on as soon as it has arrived.")
    return visit.redirect(f"{HOME}?after={bought['version']}", message=charged)


@pages.action(
    "/billing/plans/{plan}/change",
    title=mark("Change the plan"),
    permissions=(READ, MANAGE),
    calls=(*BUYING, "billing POST /v1/billing/subscription/change"),
)
async def change_plan(visit: Visit) -> Response:
    form = await visit.form()
    body = {"plan": visit.ids["plan"]} | form.document({"/expected_amount_due": integer})
    path = "/v1/billing/subscription/change"
    sent = visit.api.billing.post(path, body, if_match=form.if_match, idempotency_key=form.idempotency_key)
    changed = await form.send(sent)
    if changed is None:
        return await _plan_shown(visit, form)
    later = _("The plan changes on %(day)s.") % {"day": visit.words.day(changed["current_period_end"])}
    return visit.redirect(HOME, message=later if changed["next_plan"] else _("The plan was changed."))


@pages.page(
    "/billing/cancel",
    title=mark("Cancel the subscription"),
    permissions=(READ, MANAGE),
    calls=(SUBSCRIPTION, CANCEL),
)
async def confirm_cancellation(visit: Visit) -> Response:
    subscription = await visit.api.billing.get("/v1/billing/subscription")
    return visit.render("pages/billing/cancel.html", subscription=subscription, form_state=Form.of(subscription))


@pages.action(
    "/billing/cancel",
    title=mark("Cancel the subscription"),
    permissions=(READ, MANAGE),
    calls=(SUBSCRIPTION, CANCEL),
)
async def cancel_subscription(visit: Visit) -> Response:
    form = await visit.form()
    path = "/v1/billing/subscription/cancel"
    body = form.document({"/at": text})
    sent = visit.api.billing.post(path, body, if_match=form.if_match, idempotency_key=form.idempotency_key)
    ended = await form.send(sent)
    if ended is None:
        subscription = await visit.api.billing.get("/v1/billing/subscription")
        form.if_match = subscription.etag
        return visit.render("pages/billing/cancel.html", status=form.status, subscription=subscription, form_state=form)
    later = _("Canceled. Everything works until %(day)s.") % {"day": visit.words.day(ended["current_period_end"])}
    return visit.redirect(HOME, message=later if ended["cancel_at_period_end"] else _("The subscription has ended."))


@pages.action("/billing/resume", permissions=(MANAGE,), calls=("billing POST /v1/billing/subscription/resume",))
async def resume_subscription(visit: Visit) -> Response:
    form = await visit.form()
    await visit.api.billing.post("/v1/billing/subscription/resume", if_match=form.if_match)
    return visit.redirect(HOME, message=_("The subscription goes on."))


@pages.action(
    "/billing/checkout",
    title=mark("Give a payment method"),
    permissions=(READ, MANAGE),
    calls=(*OVERVIEW, "billing POST /v1/billing/checkout-sessions"),
)
async def open_checkout(visit: Visit) -> Response:
    """Browsers follow no redirect to another host from a form of ours, so the way there is a page."""
    form = await visit.form()
    opened = await form.send(visit.api.billing.post("/v1/billing/checkout-sessions"))
    if opened is None:
        return await _shown(visit, checkout=form)
    return visit.render("pages/billing/checkout.html", opened=opened)


@pages.action(
    "/billing/payment-methods/{payment_method_id}/default",
    permissions=(MANAGE,),
    calls=("billing POST /v1/billing/payment-methods/{payment_method_id}/make-default",),
)
async def make_default(visit: Visit) -> Response:
    form = await visit.form()
    path = "/v1/billing/payment-methods/{payment_method_id}/make-default"
    await visit.api.billing.post(path, if_match=form.if_match, payment_method_id=visit.ids["payment_method_id"])
    return visit.redirect(HOME, message=_("This payment method is charged from now on."))


@pages.action(
    "/billing/payment-methods/{payment_method_id}/delete",
    permissions=(MANAGE,),
    calls=("billing DELETE /v1/billing/payment-methods/{payment_method_id}",),
)
async def delete_method(visit: Visit) -> Response:
    form = await visit.form()
    path = "/v1/billing/payment-methods/{payment_method_id}"
    await visit.api.billing.delete(path, if_match=form.if_match, payment_method_id=visit.ids["payment_method_id"])
    return visit.redirect(HOME, message=_("The payment method was deleted."))


@pages.page(
    "/billing/invoices", title=mark("Invoices"), permissions=(READ,), optional=(MANAGE,), calls=(INVOICES_OF, METHODS)
)
async def list_invoices(visit: Visit) -> Response:
    table = TableQuery("/billing/invoices", visit.query)
    found, methods = await asyncio.gather(
        visit.api.billing.get("/v1/billing/invoices", query=table.asked), _methods(visit)
    )
    return visit.render(
        "pages/billing/invoices.html", table=table, found=found, can_pay=bool(_given(methods)), invoice_states=INVOICES
    )


@pages.fragment(
    "/billing/invoices/{invoice_id}.pdf",
    permissions=(READ,),
    calls=("billing GET /v1/billing/invoices/{invoice_id}.pdf",),
)
async def download_pdf(visit: Visit) -> Response:
    path = "/v1/billing/invoices/{invoice_id}.pdf"
    return _file(await visit.api.billing.get(path, invoice_id=visit.ids["invoice_id"]))


@pages.fragment(
    "/billing/invoices/{invoice_id}.xml",
    permissions=(READ,),
    calls=("billing GET /v1/billing/invoices/{invoice_id}.xml",),
)
async def download_xml(visit: Visit) -> Response:
    path = "/v1/billing/invoices/{invoice_id}.xml"
    return _file(await visit.api.billing.get(path, invoice_id=visit.ids["invoice_id"]))


@pages.action(
    "/billing/invoices/{invoice_id}/pay",
    permissions=(MANAGE,),
    calls=("billing POST /v1/billing/invoices/{invoice_id}/pay",),
)
async def pay_invoice(visit: Visit) -> Response:
    form = await visit.form()
    path = "/v1/billing/invoices/{invoice_id}/pay"
    await visit.api.billing.post(path, if_match=form.if_match, invoice_id=visit.ids["invoice_id"])
    return visit.redirect(HOME, message=_("The payment is under way."))


@pages.action(
    "/billing/details",
    title=mark("Billing"),
    permissions=(READ, MANAGE),
    calls=(*OVERVIEW, "billing PATCH /v1/billing/details"),
)
async def change_details(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document({"/region": text}, nulls=True)
    if await form.send(visit.api.billing.patch("/v1/billing/details", body, if_match=form.if_match)) is None:
        return await _shown(visit, details=form)
    return visit.redirect(HOME, message=_("Saved. The next invoice goes by it."))


@pages.fragment("/billing/test-clock", permissions=(MANAGE,), calls=(CLOCK,))
async def show_clock(visit: Visit) -> Response:
    """While the clock moves; once it has arrived the whole page is another."""
    clock = await visit.api.billing.get("/v1/billing/test-clock")
    response = visit.render("pages/billing/clock.html", clock=Part(clock, None), clock_form=Form())
    if clock["status"] == "ready":
        response.headers["HX-Refresh"] = "true"
    return response


@pages.action("/billing/test-clock", permissions=(MANAGE,), calls=("billing POST /v1/billing/test-clock",))
async def create_clock(visit: Visit) -> Response:
    await visit.form()
    await visit.api.billing.post("/v1/billing/test-clock")
    return visit.redirect(HOME, message=_("The company has a clock of its own now."))


@pages.action(
    "/billing/test-clock/advance",
    title=mark("Billing"),
    permissions=(READ, MANAGE),
    calls=(*OVERVIEW, "billing POST /v1/billing/test-clock/advance"),
)
async def advance_clock(visit: Visit) -> Response:
    form = await visit.form()
    body = {"to": _instant(form.plain("/to"), visit)}
    sent = visit.api.billing.post("/v1/billing/test-clock/advance", body, idempotency_key=form.idempotency_key)
    if await form.send(sent) is None:
        return await _shown(visit, clock_form=form)
    return visit.redirect(f"{HOME}#clock", message=_("The clock is moving."))


async def _shown(
    visit: Visit, *, details: Form | None = None, checkout: Form | None = None, clock_form: Form | None = None
) -> Response:
    billing, manages = visit.api.billing, visit.standing.holds(MANAGE)
    asked = {
        "plans": billing.get("/v1/billing/plans"),
        "details": billing.get("/v1/billing/details"),
        "invoices": billing.get("/v1/billing/invoices", query={"limit": INVOICES_SHOWN}),
    }
    if manages:
        asked["methods"] = billing.get("/v1/billing/payment-methods", query={"limit": METHODS_MAX})
    if manages and visit.standing.tenant.get("test"):
        asked["clock"] = billing.get("/v1/billing/test-clock")
    subscription, found, session = await asyncio.gather(
        billing.get("/v1/billing/subscription"), visit.api.parts(**asked), awaited.checkout(visit)
    )
    plans = _offered(found["plans"])
    may_change = {"subscribe", "change"} & set(subscription["allowed_transitions"])
    others = [plan for plan in plans if plan != (subscription["next_plan"] or subscription["plan"])]
    previews = await _previews(visit, plans if "subscribe" in may_change else others) if may_change else {}
    names = {code: plan_name(plan["names"], visit.words, code) for code, plan in plans.items()}
    plan, next_plan = (names.get(code or "", code or "") for code in (subscription["plan"], subscription["next_plan"]))
    sent = details or checkout or clock_form
    clock = found.get("clock")
    if clock_form is None:
        clock_form = Form(values={"to": _next_instant(visit, clock, subscription)})
    if details is None and found["details"].answer is not None:
        details = Form.of(found["details"].answer)
    return visit.render(
        "pages/billing/overview.html",
        status=sent.status if sent else 200,
        subscription=subscription,
        state=state_of(subscription.body, plan, next_plan, visit.words),
        found=found,
        plans=plans,
        names=names,
        previews=previews,
        features=FEATURES,
        intervals=INTERVALS,
        invoice_states=INVOICES,
        details=details,
        checkout=checkout or Form(),
        clock=clock,
        clock_form=clock_form,
        awaited=awaited.of(visit, subscription, session),
        given=session["status"] if session is not None and session.answer is not None else None,
        manages=manages,
        can_pay=bool(_given(found.get("methods"))),
    )


async def _plan_shown(visit: Visit, form: Form) -> Response:
    """What buying a plan, or changing to it, costs now; sent again, the form is about what is shown."""
    code = visit.ids["plan"]
    subscription, plans, preview, methods = await asyncio.gather(
        visit.api.billing.get("/v1/billing/subscription"),
        visit.api.billing.get("/v1/billing/plans"),
        visit.api.billing.post("/v1/billing/subscription/preview", {"plan": code}),
        _methods(visit),
    )
    form.if_match = subscription.etag
    plan = next((one for one in plans["data"] if one["plan"] == code), None)
    return visit.render(
        "pages/billing/plan.html",
        status=form.status,
        form_state=form,
        plan=plan,
        name=plan_name(plan["names"], visit.words, code) if plan else code,
        name_of=lambda names: plan_name(names, visit.words),
        taxes=TAXES,
        preview=preview,
        buys="subscribe" in subscription["allowed_transitions"],
        methods=_given(methods),
        choices=[(one["id"], one["label"] or one["provider"]) for one in _given(methods)],
        intervals=INTERVALS,
    )


async def _previews(visit: Visit, plans: Mapping[str, Any] | list[str]) -> dict[str, Part]:
    """What each of these plans costs now."""
    path = "/v1/billing/subscription/preview"
    return await visit.api.parts(**{plan: visit.api.billing.post(path, {"plan": plan}) for plan in plans})


async def _methods(visit: Visit) -> Part | None:
    if not visit.standing.holds(MANAGE):
        return None
    return await visit.api.part(visit.api.billing.get("/v1/billing/payment-methods", query={"limit": METHODS_MAX}))


def _given(methods: Part | None) -> list[dict[str, Any]]:
    """The payment methods, the one that is charged first."""
    found = methods["data"] if methods is not None and methods.answer is not None else []
    return sorted(found, key=lambda one: not one["is_default"])


def _offered(part: Part) -> dict[str, Any]:
    return {plan["plan"]: plan for plan in part["data"]} if part.answer is not None else {}


def _file(answer: Answer) -> Response:
    """A document of an invoice as billing has it."""
    names = ("content-type", "content-disposition")
    return Response(answer.body, headers={name: answer.headers[name] for name in names if name in answer.headers})


def _instant(entered: str, visit: Visit) -> str:
    """What was chosen, in the company's zone; what is no time is sent as it is, for the service to say so."""
    try:
        chosen = datetime.fromisoformat(entered)
    except ValueError:
        return entered
    return (chosen if chosen.tzinfo else chosen.replace(tzinfo=visit.words.zone)).isoformat()


def _next_instant(visit: Visit, clock: Part | None, subscription: Answer) -> str:
    """Where to move the clock next: to just after what time alone will do to the subscription, else by a day."""
    if clock is None or clock.answer is None:
        return ""
    now = datetime.fromisoformat(clock["now"])
    names = ["next_payment_attempt_at", "payment_due_at", "current_period_end", "access_until"]
    names += ["trial_ends_at"] if subscription["status"] == "trialing" else []
    instants = [datetime.fromisoformat(at) for name in names if (at := subscription[name])]
    following = min((at for at in instants if at > now), default=now + timedelta(days=1)) + timedelta(minutes=1)
    return following.astimezone(visit.words.zone).strftime("%Y-%m-%dT%H:%M")
