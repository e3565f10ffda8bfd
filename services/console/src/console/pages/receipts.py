"""The receipt of a revocation: since when each service refuses what was ended."""

from urllib.parse import urlencode

from starlette.responses import Response

from console.declarations import Pages
from console.gateway import Answer
from console.i18n import mark
from console.sessions import local_path
from console.visits import Visit

pages = Pages()

GET = "identity GET /v1/revocations/{revocation_id}"
ACTIONS = {
    "api_access.revoked": mark("API access was revoked"),
    "credential.revoked": mark("A key was revoked"),
    "credential.rotated": mark("A key was replaced"),
    "credential.overlap_ended": mark("A replaced key was ended"),
    "merchant.disabled": mark("The merchant was deactivated"),
    "session.revoked": mark("A session was ended"),
    "tenant.closed": mark("The company was closed"),
    "tenant.suspended": mark("The company was suspended"),
    "user.disabled": mark("The account was disabled"),
    "user.permissions_changed": mark("Permissions were changed"),
}
"""What ends access, by the name of its event."""


def after_revocation(visit: Visit, answer: Answer, *, back: str, message: str) -> Response:
    """Go on to the receipt of what this answer ended; where it ended nothing, back."""
    revocation_id = answer.headers.get("revocation-id")
    if not revocation_id:
        return visit.redirect(back, message=message)
    return visit.redirect(f"/receipts/{revocation_id}?{urlencode({'back': back})}", message=message)


@pages.page(
    "/receipts/{revocation_id}",
    title=mark("Receipt"),
    audience="signed in",
    calls=(GET,),
    sample="/receipts/{revocation_id}",
)
async def show_receipt(visit: Visit) -> Response:
    receipt = await visit.api.identity.get("/v1/revocations/{revocation_id}", revocation_id=visit.ids["revocation_id"])
    back = local_path(visit.query.get("back", "/"))
    return visit.render("pages/receipts/show.html", receipt=receipt, back=back, actions=ACTIONS)


@pages.fragment("/receipts/{revocation_id}/state", audience="signed in", calls=(GET,))
async def show_state(visit: Visit) -> Response:
    receipt = await visit.api.identity.get("/v1/revocations/{revocation_id}", revocation_id=visit.ids["revocation_id"])
    return visit.render("pages/receipts/state.html", receipt=receipt, actions=ACTIONS)
