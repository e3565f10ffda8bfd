"""One's own password and second factor: change, enrol, recovery codes, turn off."""

import json

import segno
from starlette.responses import Response

from console import messages
from console.declarations import Pages
from console.forms import Form, secret, text
from console.gateway import Answer, Forbidden, Part
from console.i18n import gettext as _
from console.i18n import mark
from console.visits import Visit

pages = Pages()

PATH = "/settings/security"
TITLE = mark("Password and second factor")
FACTOR = "identity GET /v1/auth/second-factor"
PASSWORD_FIELDS = {"/current_password": secret, "/new_password": secret, "/code": text}
PURPOSE = "second-factor"
QR_MODULE_PIXELS = 4
QR_MARGIN_MODULES = 4
"""Cameras want so much white around a code (ISO/IEC 18004)."""


@pages.page(PATH, title=TITLE, audience="signed in", calls=(FACTOR,))
async def show_security(visit: Visit) -> Response:
    return await _security(visit, Form())


@pages.action(
    "/settings/security/password", title=TITLE, audience="signed in", calls=(FACTOR, "identity POST /v1/password")
)
async def change_password(visit: Visit) -> Response:
    assert visit.session is not None
    form = await visit.form()
    body = {"current_password": "", "new_password": "", **form.document(PASSWORD_FIELDS)}
    issued = await form.send(visit.api.identity.post("/v1/password", body), also=(Forbidden,))
    if issued is None:
        if isinstance(form.problem, Forbidden):
            pointer = "/code" if form.problem.code == "step_up_code_required" else "/current_password"
            form.refuse(pointer, messages.of_problem(form.problem))
        return await _security(visit, form)
    # Identity has ended the tokens of before, this session's too.
    await visit.parts.sessions.replace(visit.session.cookie, issued)
    return visit.redirect(PATH, message=_("Your password is changed. Your other sessions have ended."))


@pages.action(
    "/settings/security/second-factor",
    title=TITLE,
    audience="signed in",
    calls=("identity POST /v1/auth/second-factor",),
)
async def begin_second_factor(visit: Visit) -> Response:
    await visit.form()
    enrolment = await visit.api.identity.post("/v1/auth/second-factor")
    shown = {"secret": enrolment["secret"], "uri": enrolment["uri"]}
    # The secret is told once; sealed it waits in the form, for a code that was wrong.
    return _enrolment(visit, Form(), shown, visit.parts.sessions.seal(json.dumps(shown), PURPOSE))


@pages.action(
    "/settings/security/second-factor/confirm",
    title=TITLE,
    audience="signed in",
    calls=("identity POST /v1/auth/second-factor/confirm",),
)
async def confirm_second_factor(visit: Visit) -> Response:
    assert visit.session is not None
    form = await visit.form()
    sealed = form.plain("sealed")
    shown = visit.parts.sessions.unseal(sealed, PURPOSE)
    if shown is None:
        return visit.redirect(PATH, message=_("That took too long. Please begin again."))
    body = {"code": "", **form.document({"/code": text})}
    codes = await form.send(visit.api.identity.post("/v1/auth/second-factor/confirm", body), also=(Forbidden,))
    if codes is None:
        if isinstance(form.problem, Forbidden):
            form.refuse("/code", _("This code is wrong, or was used before."))
        return _enrolment(visit, form, json.loads(shown), sealed)
    # Where a second factor is required the token of before is good for nothing but enrolling one.
    await visit.parts.sessions.renew(visit.session.cookie, visit.api.token or "", visit.api.origin)
    return _codes(visit, codes)


@pages.action(
    "/settings/security/recovery-codes",
    title=TITLE,
    audience="signed in",
    calls=("identity POST /v1/auth/second-factor/recovery-codes",),
)
async def renew_recovery_codes(visit: Visit) -> Response:
    await visit.form()
    return _codes(visit, await visit.api.identity.post("/v1/auth/second-factor/recovery-codes"))


@pages.action(
    "/settings/security/second-factor/remove",
    title=TITLE,
    audience="signed in",
    calls=("identity DELETE /v1/auth/second-factor",),
)
async def remove_second_factor(visit: Visit) -> Response:
    await visit.form()
    await visit.api.identity.delete("/v1/auth/second-factor")
    return visit.redirect(PATH, message=_("The second factor is off."))


async def _security(visit: Visit, form: Form) -> Response:
    factor: Part = await visit.api.part(visit.api.identity.get("/v1/auth/second-factor"))
    return visit.render("pages/security.html", status=form.status, form_state=form, factor=factor)


def _enrolment(visit: Visit, form: Form, shown: dict[str, str], sealed: str) -> Response:
    groups = [shown["secret"][start : start + 4] for start in range(0, len(shown["secret"]), 4)]
    qr_code = segno.make_qr(shown["uri"])
    return visit.render(
        "pages/second_factor.html",
        status=form.status,
        form_state=form,
        secret=" ".join(groups),
        uri=shown["uri"],
        # White behind it in the dark theme, too.
        qr_code=qr_code.svg_data_uri(light="white", scale=QR_MODULE_PIXELS, border=QR_MARGIN_MODULES),
        qr_pixels=qr_code.symbol_size(QR_MODULE_PIXELS, QR_MARGIN_MODULES)[0],
        sealed=sealed,
    )


def _codes(visit: Visit, codes: Answer) -> Response:
    return visit.render("pages/recovery_codes.html", codes=codes["recovery_codes"])
