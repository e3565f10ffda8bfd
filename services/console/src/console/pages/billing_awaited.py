"""What the payment provider has yet to say: the page of billing is another once it has."""

import asyncio

from starlette.responses import Response

from console.declarations import Pages
from console.gateway import Answer, Part
from console.i18n import gettext as _
from console.visits import Visit

pages = Pages()

SUBSCRIPTION = "billing GET /v1/billing/subscription"
CHECKOUT = "billing GET /v1/billing/checkout-sessions/{checkout_session_id}"


@pages.fragment("/billing/awaited", permissions=("billing.read",), calls=(SUBSCRIPTION, CHECKOUT))
async def show_awaited(visit: Visit) -> Response:
    """While it is awaited; then the whole page is loaded again."""
    subscription, session = await asyncio.gather(visit.api.billing.get("/v1/billing/subscription"), checkout(visit))
    awaited = of(visit, subscription, session)
    response = visit.render("pages/billing/awaited.html", awaited=awaited)
    if awaited is None:
        response.headers["HX-Refresh"] = "true"
    return response


async def checkout(visit: Visit) -> Part | None:
    """The page of the payment provider from which somebody comes back, where its address says so."""
    named = visit.query.get("checkout_session")
    if not named:
        return None
    path = "/v1/billing/checkout-sessions/{checkout_session_id}"
    return await visit.api.part(visit.api.billing.get(path, checkout_session_id=named))


def of(visit: Visit, subscription: Answer, session: Part | None) -> str | None:
    """What the payment provider has yet to say: of a page that somebody comes back from, or of a charge after a purchase."""
    if session is not None and session.answer is not None and session["status"] == "open":
        return _("The payment provider is being asked what was given on its page.")
    return _("The payment is under way.") if visit.query.get("after") == str(subscription["version"]) else None
