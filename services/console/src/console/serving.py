"""Makes routes of declared pages: who comes, whether the form is ours, what a refusal looks like, and what browsers may do with it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import structlog
from cachetools import TTLCache
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console import i18n, messages
from console.declarations import Page
from console.forms import FORM_TOKEN, Form
from console.gateway import (
    Api,
    Away,
    Changed,
    Conflict,
    Forbidden,
    Gateway,
    Missing,
    Origin,
    PaymentRequired,
    Problem,
    Unauthorized,
)
from console.sessions import SAFE_METHODS, BrowserSession, SessionEnded, comes_from_own_page
from console.visits import LANGUAGE_COOKIE, NOBODY, OPERATOR, FormRefused, FormTooLarge, Parts, Standing, Visit

log = structlog.get_logger(__name__)

STANDING_SECONDS = 5
STANDINGS_MAX = 10_000
STEP_UP = "identity POST /v1/auth/step-up"
STEP_UP_PASSWORD, STEP_UP_CODE = "step_up_password", "step_up_code"
STEP_UP_REQUIRED = "step_up_required"
ENROLMENT_REQUIRED = "second_factor_enrolment_required"
ENROLMENT = "/settings/security"
"""Where one goes who can do nothing before a second factor is enrolled."""
ASKS_FOR_PASSWORD = frozenset({STEP_UP_REQUIRED, "step_up_code_required", "reauthentication_failed"})
NOT_SENT_ON = frozenset({STEP_UP_PASSWORD, STEP_UP_CODE, FORM_TOKEN})
PERMISSIONS = "identity GET /v1/permissions"
TENANT = "identity GET /v1/tenant"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a page says instead of its content."""

    status: int
    title: str
    text: str
    problem: Problem | None = None
    missing: Sequence[str] = ()
    """Codes of permissions."""


class Serving:
    """Serves the declared pages."""

    def __init__(self, parts: Parts, gateway: Gateway):
        self._parts = parts
        self._gateway = gateway
        self._standings: TTLCache[tuple[str, str | None], Standing] = TTLCache(STANDINGS_MAX, STANDING_SECONDS)

    def route(self, page: Page) -> Route:
        """The route of a page."""

        async def answer(request: Request) -> Response:
            return self._guarded(await self._answer(page, request))

        return Route(page.path, answer, methods=[page.method], include_in_schema=False)

    async def not_found(self, request: Request) -> Response:
        """What an address without a page answers."""
        return self._guarded(await self._answer(_NOWHERE, request))

    def _guarded(self, response: Response) -> Response:
        """With what browsers are told for every page."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if not self._parts.allow_http:
            response.headers["Strict-Transport-Security"] = HSTS
        return response

    async def _answer(self, page: Page, request: Request) -> Response:
        language = i18n.choose_language(
            request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )
        with i18n.speaking(i18n.words_of(language, None)):
            visit = self._visit(page, request)
            try:
                return await self._admit(visit, language)
            except (SessionEnded, Unauthorized) as error:
                return await self._to_sign_in(visit, error)
            except Forbidden as problem:
                if problem.code == ENROLMENT_REQUIRED and not _is_open_before(page):
                    return _onwards(visit, ENROLMENT)
                if problem.code in ASKS_FOR_PASSWORD and visit.session is not None:
                    return await self._ask_for_password(visit, problem)
                return _refused(visit, _refusal_of(problem))
            except Problem as problem:
                return _refused(visit, _refusal_of(problem))
            except FormTooLarge:
                return _refused(visit, _too_large())
            except FormRefused:
                return _refused(visit, _foreign_form())
            except Exception:
                log.exception("page_failed", path=page.path)
                return _refused(
                    visit,
                    Refusal(
                        500,
                        i18n.gettext("Something went wrong"),
                        i18n.gettext("The console has a fault here. Tell whoever runs it the request id below."),
                    ),
                )

    async def _admit(self, visit: Visit, language: str) -> Response:
        page, request = visit.page, visit.request
        if request.method not in SAFE_METHODS and not comes_from_own_page(request.headers, self._parts.base_url):
            return _refused(visit, _foreign_form())
        await self._recognise(visit)
        if page.audience != "anybody" and visit.session is None:
            raise SessionEnded
        if visit.session is not None and page.audience != "anybody":
            if page.audience == "operator" and not visit.session.is_operator:
                return RedirectResponse("/operator/sign-in", 303)
            if visit.needs_tenant:
                return RedirectResponse("/operator", 303)
            visit.standing = await self._standing(visit)
            with i18n.speaking(i18n.words_of(language, visit.standing.tenant.get("timezone"))):
                visit.words = i18n.current()
                if not visit.is_for_kind(page):
                    return _refused(visit, _not_here())
                lacking = [code for code in page.permissions if not visit.standing.holds(code)]
                if lacking and visit.standing not in (NOBODY, OPERATOR):
                    return _refused(visit, _forbidden(lacking))
                if _is_plain_form(request):
                    await self._step_up(visit)
                return await page.handler(visit)
        return await page.handler(visit)

    def _visit(self, page: Page, request: Request) -> Visit:
        origin = Origin(
            address=request.client.host if request.client else "",
            user_agent=request.headers.get("user-agent", "")[:500],
            request_id=request.scope.get("waybill.request_id", ""),
        )
        declared = {*page.calls, PERMISSIONS, TENANT}
        return Visit(
            self._parts, request, page, i18n.current(), Api(self._gateway, origin, token=None, declared=declared)
        )

    async def _recognise(self, visit: Visit) -> None:
        """Find the session of whoever comes; on pages for anybody it may be missing."""
        cookie = visit.request.cookies.get(self._parts.cookie.name)
        if not cookie:
            return
        try:
            # What a page fetches by itself keeps nobody signed in.
            is_seen = bool(visit.page.title) or visit.page.method == "POST"
            visit.session = await self._parts.sessions.find(cookie, visit.api.origin, is_seen=is_seen)
        except (SessionEnded, Away):
            if visit.page.audience != "anybody":
                raise
            return
        visit.use(visit.session)
        if not visit.session.is_operator:
            visit.api.renew = partial(self._renewed, cookie, visit.api.origin)

    async def _renewed(self, cookie: str, origin: Origin, refused: str) -> str:
        return await self._parts.sessions.renew(cookie, refused, origin)

    async def _standing(self, visit: Visit) -> Standing:
        """What the person may do now, as of a few seconds ago."""
        session = visit.session
        assert session is not None
        if session.is_operator and (visit.page.audience == "operator" or not session.person["tenant_id"]):
            return OPERATOR
        key = (session.cookie, session.person.get("tenant_id"))
        known = self._standings.get(key)
        if known is not None:
            return known
        permissions, tenant = await asyncio.gather(
            visit.api.identity.get("/v1/permissions"), visit.api.identity.get("/v1/tenant"), return_exceptions=True
        )
        # They are the frame's, and no calls of the page.
        visit.api.calls.clear()
        for one in (permissions, tenant):
            if isinstance(one, Unauthorized) or (isinstance(one, BaseException) and not isinstance(one, Problem)):
                raise one
            if isinstance(one, Problem) and one.code == ENROLMENT_REQUIRED and not _is_open_before(visit.page):
                raise one
        if isinstance(permissions, BaseException) or isinstance(tenant, BaseException):
            # Identity is away: the page shows what it has from the others, and no menu but the way home.
            return NOBODY
        self._standings[key] = standing = Standing(permissions.body, tenant.body)
        return standing

    async def _step_up(self, visit: Visit) -> None:
        """Where the form brings the password along that was asked for: give it to identity, and go on with its token."""
        form = await visit.form()
        password = form.plain(STEP_UP_PASSWORD)
        if not password or visit.session is None:
            return
        api = Api(self._gateway, visit.api.origin, token=visit.api.token, declared={STEP_UP})
        body = {"password": password, **({"code": code} if (code := form.plain(STEP_UP_CODE).strip()) else {})}
        issued = await api.identity.post("/v1/auth/step-up", body)
        await self._parts.sessions.step_up(visit.session.cookie, issued)
        visit.api.token = issued["token"]

    async def _ask_for_password(self, visit: Visit, problem: Problem) -> Response:
        """A form that brings the password, and all that was entered, to where it was sent."""
        is_form = _is_plain_form(visit.request)
        fields = (await visit.form()).plain_fields() if is_form else []
        asked = Form()
        if problem.code != STEP_UP_REQUIRED:
            asked.refused(problem)
        template = "parts/step_up.html" if visit.is_fragment else "pages/step_up.html"
        address = visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else "")
        return visit.render(
            template,
            status=403,
            action=address if is_form else "/step-up",
            next=address,
            fields=[(name, value) for name, value in fields if name not in NOT_SENT_ON],
            asked=asked,
            wants_code=problem.code == "step_up_code_required",
        )

    def forget(self, session: BrowserSession) -> None:
        """Ask anew what a person may do."""
        self._standings.pop((session.cookie, session.person.get("tenant_id")), None)

    async def _to_sign_in(self, visit: Visit, error: Exception) -> Response:
        request = visit.request
        if isinstance(error, Unauthorized) and visit.session is not None:
            await self._parts.sessions.end(visit.session.cookie)
            self.forget(visit.session)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        of_operator = visit.page.audience == "operator"
        target = "/operator/sign-in" if of_operator else "/sign-in"
        if not of_operator and visit.page.title and visit.page.method == "GET" and asked != "/":
            target += f"?next={quote(asked, safe='/')}"
        return visit.sign_out(_onwards(visit, target, status=401))


def _onwards(visit: Visit, target: str, *, status: int = 403) -> Response:
    """To another page; a script is told to go there, with this status."""
    return HTMLResponse("", status, {"HX-Redirect": target}) if visit.is_fragment else RedirectResponse(target, 303)


def _is_open_before(page: Page) -> bool:
    """Whether a page is open before a second factor is enrolled."""
    return page.path.startswith(ENROLMENT) or page.path in ("/sign-out", "/step-up")


def _refused(visit: Visit, refusal: Refusal) -> Response:
    template = "parts/refusal.html" if visit.is_fragment else "pages/refusal.html"
    response = visit.render(template, status=refusal.status, refusal=refusal)
    if refusal.problem is not None and refusal.problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(refusal.problem.retry_after_seconds)
    return response


def _refusal_of(problem: Problem) -> Refusal:
    """What a page says of a problem that it could not show itself."""
    _ = i18n.gettext
    match problem:
        case PaymentRequired():
            title, text = _("A subscription is needed"), _("Your company has no subscription for this right now.")
        case Forbidden():
            title, text = _("You may not open this"), messages.of_problem(problem)
        case Missing():
            title, text = _("Not found"), _("There is nothing here, or not for you.")
        case Conflict() | Changed():
            title, text = _("That is not possible now"), messages.of_problem(problem)
        case Away():
            title = _("A part of Waybill is away")
            text = _("The service “{service}” does not answer right now. Try again in a moment.").format(
                service=problem.service
            )
        case _:
            title, text = _("That did not work"), messages.of_problem(problem)
    status = 503 if isinstance(problem, Away) else problem.status
    required = problem.body.get("required", ()) if isinstance(problem, Forbidden) else ()
    return Refusal(status, title, text, problem, required)


def _is_plain_form(request: Request) -> bool:
    """Whether fields are sent, and no file."""
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _forbidden(lacking: Sequence[str]) -> Refusal:
    _ = i18n.gettext
    return Refusal(403, _("You may not open this"), _("Your account lacks a permission for this."), None, lacking)


def _foreign_form() -> Refusal:
    _ = i18n.gettext
    return Refusal(
        403,
        _("This form is out of date"),
        _("It was not sent from a page of your present session. Open the page again, and send it from there."),
    )


def _too_large() -> Refusal:
    _ = i18n.gettext
    return Refusal(413, _("Too much at once"), _("This form has more text than the console takes."))


def _not_here() -> Refusal:
    _ = i18n.gettext
    return Refusal(404, _("Not found"), _("There is nothing here, or not for you."))


async def _nothing(visit: Visit) -> Response:
    return _refused(visit, _not_here())


_NOWHERE = Page(
    handler=_nothing,
    method="GET",
    path="/{path:path}",
    title="",
    audience="anybody",
    permissions=(),
    optional=(),
    calls=(),
    menu=None,
    sample=None,
)
