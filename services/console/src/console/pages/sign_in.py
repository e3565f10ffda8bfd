"""Signing in and out."""

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, secret, text
from console.gateway import Forbidden, Unauthorized
from console.i18n import gettext as _
from console.i18n import mark
from console.sessions import local_path
from console.visits import Visit

pages = Pages()

FIELDS = {"/tenant": text, "/email": text, "/password": secret, "/code": secret}


@pages.page("/sign-in", title=mark("Sign in"), audience="anybody")
async def show_sign_in(visit: Visit) -> Response:
    return _shown(visit, Form(values={"tenant": visit.query.get("tenant", "")}))


@pages.action("/sign-in", title=mark("Sign in"), audience="anybody", calls=("identity POST /v1/sessions",))
async def sign_in(visit: Visit) -> Response:
    form = await visit.form()
    body = {"tenant": "", "email": "", "password": "", **form.document(FIELDS)}
    visit.api.token = None
    try:
        issued = await form.send(visit.api.identity.post("/v1/sessions", body))
    except (Unauthorized, Forbidden) as problem:
        form.refused(problem)
        issued = None
    if issued is None:
        return _shown(visit, form)
    cookie = await visit.parts.sessions.begin(issued, replaces=visit.session.cookie if visit.session else None)
    return visit.sign_in(visit.redirect(local_path(form.plain("next") or "/")), cookie)


@pages.action("/sign-out", audience="signed in", calls=("identity DELETE /v1/sessions/current",))
async def sign_out(visit: Visit) -> Response:
    await visit.form()
    assert visit.session is not None
    await visit.api.part(visit.api.identity.delete("/v1/sessions/current"))
    await visit.parts.sessions.end(visit.session.cookie)
    return visit.sign_out(visit.redirect("/sign-in", message=_("You have signed out.")))


def _shown(visit: Visit, form: Form) -> Response:
    going_on = local_path(form.plain("next") or visit.query.get("next", "/"))
    return visit.render("pages/sign_in.html", status=form.status, form_state=form, next=going_on)
