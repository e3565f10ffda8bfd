"""Signing in and out, and the links of mails that lead to it. Tokens of mails stay behind the `#` of a link, and no GET uses one up."""

import json
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from console.declarations import Pages
from console.forms import Form, secret, text
from console.gateway import Forbidden, Missing, Problem, Unauthorized
from console.i18n import gettext as _
from console.i18n import mark
from console.sessions import local_path
from console.visits import Visit

pages = Pages()

FIELDS = {"/tenant": text, "/email": text, "/password": secret}
PURPOSE = "sign-in"
RESET = mark("Choose a new password")
INVITATION = mark("Accept the invitation")
EMAIL_CHANGE = mark("Confirm your new address")


@pages.page("/sign-in", title=mark("Sign in"), audience="anybody")
async def show_sign_in(visit: Visit) -> Response:
    return _sign_in_form(visit, Form(values={"tenant": visit.query.get("tenant", "")}))


@pages.action("/sign-in", title=mark("Sign in"), audience="anybody", calls=("identity POST /v1/sessions",))
async def sign_in(visit: Visit) -> Response:
    form = await visit.form()
    sealed = form.plain("sealed")
    known = visit.parts.sessions.unseal(sealed, PURPOSE) if sealed else None
    if sealed and known is None:
        return visit.redirect("/sign-in", message=_("That took too long. Please sign in again."))
    body: dict[str, Any] = {"tenant": "", "email": "", "password": "", **form.document(FIELDS)}
    if known is not None:
        body = {**json.loads(known), "code": (form.plain("/code")).strip()}
    # Whoever signs in is not yet who was signed in.
    visit.api.token = None
    issued = await form.send(visit.api.identity.post("/v1/sessions", body), also=(Unauthorized, Forbidden))
    if issued is None:
        return _refused(visit, form, body)
    cookie = await visit.parts.sessions.begin(issued, replaces=visit.session.cookie if visit.session else None)
    return visit.sign_in(visit.redirect(local_path(form.plain("next") or "/")), cookie)


def _refused(visit: Visit, form: Form, body: dict[str, Any]) -> Response:
    problem = form.problem
    if problem is not None and problem.code == "second_factor_required":
        # Nothing was wrong: the same person is asked for the code. The password waits encrypted, for some minutes.
        form.problem = None
        return _sign_in_form(visit, form, visit.parts.sessions.seal(json.dumps(body), PURPOSE))
    return _sign_in_form(visit, form, form.plain("sealed"))


def _sign_in_form(visit: Visit, form: Form, sealed: str = "") -> Response:
    going_on = local_path(form.plain("next") or visit.query.get("next", "/"))
    return visit.render("pages/sign_in.html", status=form.status, form_state=form, next=going_on, sealed=sealed)


@pages.fragment("/session", audience="signed in")
async def show_session(visit: Visit) -> Response:
    """Whether the session of an open page goes on; asked before a form is sent."""
    return _session(visit)


@pages.action("/session", audience="signed in")
async def continue_session(visit: Visit) -> Response:
    """What the dialog of an open page sends whose session has ended: another one has begun before this."""
    await visit.form()
    return _session(visit)


def _session(visit: Visit) -> Response:
    headers = {"X-Form-Token": visit.form_token, "X-Person": quote(visit.person["id"])}
    return Response(status_code=204, headers=headers)


@pages.action("/sign-out", audience="signed in", calls=("identity DELETE /v1/sessions/current",))
async def sign_out(visit: Visit) -> Response:
    await visit.form()
    assert visit.session is not None
    await visit.api.part(visit.api.identity.delete("/v1/sessions/current"))
    await visit.parts.sessions.end(visit.session.cookie)
    return visit.sign_out(visit.redirect("/sign-in", message=_("You have signed out.")))


@pages.page("/forgotten-password", title=mark("Forgotten password"), audience="anybody")
async def show_forgotten_password(visit: Visit) -> Response:
    return visit.render("pages/forgotten_password.html", form_state=Form(), sent=False)


@pages.action(
    "/forgotten-password",
    title=mark("Forgotten password"),
    audience="anybody",
    calls=("identity POST /v1/password-resets",),
)
async def ask_for_new_password(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document({"/tenant": text, "/email": text})
    asked = await form.send(visit.api.identity.post("/v1/password-resets", body))
    return visit.render("pages/forgotten_password.html", status=form.status, form_state=form, sent=asked is not None)


@pages.page("/password-reset", title=RESET, audience="anybody")
async def show_password_reset(visit: Visit) -> Response:
    return _reset_form(visit, Form())


@pages.action("/password-reset", title=RESET, audience="anybody", calls=("identity POST /v1/password-resets/confirm",))
async def reset_password(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document({"/token": text, "/password": secret})
    done = await form.send(visit.api.identity.post("/v1/password-resets/confirm", body), also=_OVER)
    return _reset_form(visit, form) if done is None else _to_sign_in(visit, done, _("Your password is changed."))


def _reset_form(visit: Visit, form: Form) -> Response:
    return _mail_link(
        visit, form, _("All your sessions end; API keys stay."), _("Save the password"), asks_password=True
    )


@pages.page("/invitation", title=INVITATION, audience="anybody")
async def show_invitation(visit: Visit) -> Response:
    return _invitation_form(visit, Form())


@pages.action("/invitation", title=INVITATION, audience="anybody", calls=("identity POST /v1/invitations/accept",))
async def accept_invitation(visit: Visit) -> Response:
    form = await visit.form()
    body = form.document({"/token": text, "/password": secret})
    done = await form.send(visit.api.identity.post("/v1/invitations/accept", body), also=_OVER)
    return (
        _invitation_form(visit, form)
        if done is None
        else _to_sign_in(visit, done, _("Welcome. Your account is ready."))
    )


def _invitation_form(visit: Visit, form: Form) -> Response:
    lead = _("Choose a password for your account.")
    return _mail_link(visit, form, lead, _("Accept the invitation"), asks_password=True)


@pages.page("/email-change", title=EMAIL_CHANGE, audience="anybody")
async def show_email_change(visit: Visit) -> Response:
    return _email_change_form(visit, Form())


@pages.action(
    "/email-change", title=EMAIL_CHANGE, audience="anybody", calls=("identity POST /v1/email-changes/confirm",)
)
async def confirm_email_change(visit: Visit) -> Response:
    form = await visit.form()
    done = await form.send(
        visit.api.identity.post("/v1/email-changes/confirm", form.document({"/token": text})), also=_OVER
    )
    if done is None:
        return _email_change_form(visit, form)
    return _to_sign_in(visit, done, _("Your address is changed. Sign in with it from now on."))


def _email_change_form(visit: Visit, form: Form) -> Response:
    lead = _("From then on you sign in with this address.")
    return _mail_link(visit, form, lead, _("Confirm this address"), asks_password=False)


_OVER: tuple[type[Problem], ...] = (Missing, Unauthorized, Forbidden)


def _mail_link(visit: Visit, form: Form, lead: str, button: str, *, asks_password: bool) -> Response:
    content = {"lead": lead, "button": button, "asks_password": asks_password}
    return visit.render("pages/mail_link.html", status=form.status, form_state=form, **content)


def _to_sign_in(visit: Visit, done: Any, message: str) -> Response:
    return visit.redirect(f"/sign-in?tenant={done['principal']['tenant_id']}", message=message)
