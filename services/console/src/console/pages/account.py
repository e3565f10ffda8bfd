"""One's own account: open sessions, and the password that is asked for again."""

from starlette.responses import Response

from console.declarations import Pages
from console.gateway import Missing
from console.i18n import gettext as _
from console.i18n import mark
from console.sessions import local_path
from console.visits import Visit

pages = Pages()


@pages.page(
    "/settings/sessions", title=mark("Your sessions"), audience="signed in", calls=("identity GET /v1/sessions",)
)
async def list_sessions(visit: Visit) -> Response:
    found = await visit.api.identity.get("/v1/sessions", query={"limit": 100})
    return visit.render("pages/sessions.html", found=found)


@pages.action(
    "/settings/sessions/{session_id}/end",
    audience="signed in",
    calls=("identity DELETE /v1/sessions/{session_id}",),
)
async def end_session(visit: Visit) -> Response:
    await visit.form()
    message = _("The session has ended.")
    try:
        await visit.api.identity.delete("/v1/sessions/{session_id}", session_id=visit.ids["session_id"])
    except Missing:
        message = _("This session has ended already.")
    return visit.redirect("/settings/sessions", message=message)


@pages.action("/sign-out-everywhere", audience="signed in", calls=("identity DELETE /v1/sessions",))
async def sign_out_everywhere(visit: Visit) -> Response:
    await visit.form()
    assert visit.session is not None
    await visit.api.identity.delete("/v1/sessions")
    await visit.parts.sessions.end(visit.session.cookie)
    return visit.sign_out(visit.redirect("/sign-in", message=_("You have signed out everywhere.")))


@pages.action("/step-up", audience="signed in")
async def step_up(visit: Visit) -> Response:
    """The password has been checked before this: go on to the page that asked for it."""
    form = await visit.form()
    return visit.redirect(local_path(form.plain("next") or "/"))
