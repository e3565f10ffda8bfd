"""API settings: administrators see API Account IDs and their use, a merchant its own credentials."""

import base64
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from console import messages
from console.declarations import Pages
from console.forms import Form, integer, secret, text
from console.gateway import Answer, Forbidden, Part, Problem
from console.i18n import gettext as _
from console.i18n import mark
from console.pages.receipts import after_revocation
from console.tables import Filter, TableQuery
from console.visits import Visit

pages = Pages()

READ = "settings.merchants.read"
ACCOUNTS = "identity GET /v1/api-settings/accounts"
COUNTS = "identity GET /v1/request-log/counts"
FAILED = "identity GET /v1/request-log"
SETTINGS = "identity GET /v1/api-settings"
REVEAL = "identity POST /v1/api-settings/reveal"
ROTATE = "identity POST /v1/api-settings/rotate"
END_OVERLAP = "identity POST /v1/api-settings/end-overlap"
TEST = "identity GET /v1/auth/test"
FACTOR = "identity GET /v1/auth/second-factor"
OWN = (SETTINGS, COUNTS, FAILED, FACTOR)
OWN_PATH = "/api-settings"

UNUSED_DAYS = 90
SHOWN_SECONDS = 30
"""How long a revealed key stays on the screen."""
FAILED_ROWS = 10
OVERLAPS = {
    0: mark("None: the old key is refused at once"),
    3600: mark("1 hour"),
    86400: mark("24 hours"),
    604800: mark("7 days"),
}


@pages.page(
    "/api-accounts", title=mark("API settings"), permissions=(READ,), calls=(ACCOUNTS, COUNTS), menu="api-settings"
)
async def list_accounts(visit: Visit) -> Response:
    unused = Filter("unused", _("Use"), [(str(UNUSED_DAYS), _("Unused for 90 days"))])
    table = TableQuery("/api-accounts", visit.query, [unused], search=True)
    asked = dict(table.asked)
    if asked.pop("unused", None):
        since = datetime.now(UTC) - timedelta(days=UNUSED_DAYS)
        asked["unused_since"] = since.isoformat(timespec="seconds").replace("+00:00", "Z")
    parts = await visit.api.parts(
        found=visit.api.identity.get("/v1/api-settings/accounts", query=asked),
        counts=visit.api.identity.get("/v1/request-log/counts"),
    )
    if parts["found"].problem is not None:
        raise parts["found"].problem
    return visit.render(
        "pages/api_settings/accounts.html", table=table, found=parts["found"].answer, counts=parts["counts"]
    )


@pages.page(OWN_PATH, title=mark("API settings"), audience="merchant", calls=OWN, menu="api-settings")
async def show_own(visit: Visit) -> Response:
    return await _own(visit)


@pages.action("/api-settings/reveal", title=mark("API settings"), audience="merchant", calls=(*OWN, REVEAL))
async def reveal(visit: Visit) -> Response:
    form = await visit.form()
    body = {"password": "", **form.document({"/password": secret, "/code": text})}
    shown = await _with_password(form, visit.api.identity.post("/v1/api-settings/reveal", body))
    return await _own(visit, reveal_form=form, shown=shown)


@pages.action("/api-settings/rotate", title=mark("API settings"), audience="merchant", calls=(*OWN, ROTATE))
async def rotate(visit: Visit) -> Response:
    form = await visit.form()
    body = {"password": "", **form.document({"/password": secret, "/code": text, "/overlap_seconds": integer})}
    call = visit.api.identity.post("/v1/api-settings/rotate", body, idempotency_key=form.idempotency_key)
    shown = await _with_password(form, call)
    return await _own(visit, rotate_form=form, shown=shown)


@pages.action("/api-settings/end-overlap", audience="merchant", calls=(END_OVERLAP,))
async def end_overlap(visit: Visit) -> Response:
    await visit.form()
    answer = await visit.api.identity.post("/v1/api-settings/end-overlap")
    return after_revocation(visit, answer, back=OWN_PATH, message=_("The old key is refused from now on."))


@pages.action("/api-settings/test", title=mark("API settings"), audience="merchant", calls=(*OWN, TEST))
async def test_key(visit: Visit) -> Response:
    """Calls with the key itself, as the merchant's program would."""
    form = await visit.form()
    settings = await visit.api.identity.get("/v1/api-settings")
    account_id, key = settings["api_account_id"] or "", secret([form.plain("key")]) or ""
    given = base64.b64encode(f"{account_id}:{key}".encode()).decode()
    token, visit.api.token = visit.api.token, None
    try:
        tested: Part = await _part(visit.api.identity.get("/v1/auth/test", headers={"Authorization": f"Basic {given}"}))
    finally:
        visit.api.token = token
    return await _own(visit, tested=tested)


async def _part(call: Awaitable[Answer]) -> Part:
    try:
        return Part(await call, None)
    except Problem as problem:
        return Part(None, problem)


async def _with_password(form: Form, call: Awaitable[Answer]) -> Answer | None:
    """The answer to a call for which the password is given again; None where the form says why not."""
    try:
        return await form.send(call)
    except Forbidden as problem:
        form.refused(problem)
        if problem.code == "step_up_code_required":
            form.refuse("/code", messages.of_problem(problem))
        elif problem.code == "reauthentication_failed":
            has_code = bool(form.plain("/code"))
            form.refuse("/password", messages.of_problem(problem) if has_code else _("This is not your password."))
        return None


def _asks_code(factor: Part | None, *forms: Form | None) -> bool:
    """Whether a code of the second factor is needed beside the password."""
    if factor is not None and factor.answer is not None:
        return bool(factor["enrolled"])
    return any(form is not None and "/code" in form.errors for form in forms)


async def _own(
    visit: Visit,
    *,
    reveal_form: Form | None = None,
    rotate_form: Form | None = None,
    shown: Answer | None = None,
    tested: Part | None = None,
) -> Response:
    settings = await visit.api.identity.get("/v1/api-settings")
    parts: Mapping[str, Part] = {}
    if settings["api_access"]:
        parts = await visit.api.parts(
            counts=visit.api.identity.get(
                "/v1/request-log/counts", query={"credential_id": settings["api_account_id"]}
            ),
            failed=visit.api.identity.get("/v1/request-log", query={"limit": FAILED_ROWS}),
            factor=visit.api.identity.get("/v1/auth/second-factor"),
        )
    status = max(form.status for form in (reveal_form, rotate_form, Form()) if form is not None)
    response = visit.render(
        "pages/api_settings/own.html",
        status=status,
        settings=settings,
        parts=parts,
        asks_code=_asks_code(parts.get("factor"), reveal_form, rotate_form),
        reveal_form=reveal_form or Form(),
        rotate_form=rotate_form or Form(values={"overlap_seconds": 86400}),
        shown=shown,
        tested=tested,
        overlaps=[(seconds, _(text)) for seconds, text in OVERLAPS.items()],
        shown_seconds=SHOWN_SECONDS,
    )
    if shown is not None:
        # The key leaves the screen, with and without a script.
        response.headers["Refresh"] = f"{SHOWN_SECONDS}; url={OWN_PATH}"
    return response
