"""Makes routes of declared pages: who comes, whether the form is ours, what a refusal looks like, and what browsers may do with it."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console import i18n, refusals
from console.declarations import Page
from console.forms import FORM_TOKEN, Form, is_secret
from console.gateway import Api, Away, Forbidden, Gateway, Origin, PaymentRequired, Problem, Unauthorized
from console.refusals import Refusal
from console.sessions import SAFE_METHODS, SessionEnded, comes_from_own_page
from console.standings import PERMISSIONS, TENANT, Standings
from console.visits import LANGUAGE_COOKIE, FormRefused, FormTooLarge, Parts, Visit

log = structlog.get_logger(__name__)

SIGN_IN = "identity POST /v1/sessions"
SIGN_IN_FIELDS = {name: f"sign_in_{name}" for name in ("tenant", "email", "password", "code")}
"""What a form brings along whose session has ended: with it another one begins, and the form goes on."""
STEP_UP = "identity POST /v1/auth/step-up"
STEP_UP_PASSWORD, STEP_UP_CODE = "step_up_password", "step_up_code"
STEP_UP_REQUIRED = "step_up_required"
ENROLMENT_REQUIRED = "second_factor_enrolment_required"
ENROLMENT = "/settings/security"
"""Where one goes who can do nothing before a second factor is enrolled."""
ASKS_FOR_PASSWORD = frozenset({STEP_UP_REQUIRED, "step_up_code_required", "reauthentication_failed"})
NOT_SENT_ON = frozenset({STEP_UP_PASSWORD, STEP_UP_CODE, FORM_TOKEN, *SIGN_IN_FIELDS.values()})
ABOVE_THE_PAGE = {"HX-Retarget": "#refused", "HX-Reswap": "innerHTML"}
"""Where an open page shows that a part of it was refused: what it shows stays."""
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
Fields = Sequence[tuple[str, str]]


class SignInRefused(Exception):
    """What a form brought along to sign in again is not accepted."""

    def __init__(self, problem: Problem):
        self.problem = problem


class Serving:
    """Serves the declared pages."""

    def __init__(self, parts: Parts, gateway: Gateway):
        self._parts = parts
        self._gateway = gateway
        self._standings = Standings()

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
            response = await self._outcome(visit, language)
            return visit.sign_in(response, visit.new_cookie) if visit.new_cookie else response

    async def _outcome(self, visit: Visit, language: str) -> Response:
        """What the page answers, or what is said instead."""
        try:
            return await self._admit(visit, language)
        except (SessionEnded, Unauthorized) as error:
            return await self._to_sign_in(visit, error)
        except SignInRefused as refused:
            return await self._ask_to_sign_in(visit, refused.problem)
        except Forbidden as problem:
            if problem.code == ENROLMENT_REQUIRED and not _is_open_before(visit.page):
                return _onwards(visit, ENROLMENT)
            if problem.code in ASKS_FOR_PASSWORD and visit.session is not None:
                return await self._ask_for_password(visit, problem)
            return await self._refused_by_service(visit, problem)
        except Problem as problem:
            return await self._refused_by_service(visit, problem)
        except FormTooLarge:
            return _refused(visit, refusals.too_large())
        except FormRefused:
            return _refused(visit, refusals.foreign_form())
        except Exception:
            log.exception("page_failed", path=visit.page.path)
            return _refused(visit, refusals.fault())

    async def _admit(self, visit: Visit, language: str) -> Response:
        page, request = visit.page, visit.request
        if request.method not in SAFE_METHODS and not comes_from_own_page(request.headers, self._parts.base_url):
            return _refused(visit, refusals.foreign_form())
        await self._recognise(visit)
        if page.audience != "anybody" and visit.session is None:
            await self._sign_in_again(visit)
        if visit.session is not None and page.audience != "anybody":
            if page.audience == "operator" and not visit.session.is_operator:
                return RedirectResponse("/operator/sign-in", 303)
            if visit.needs_tenant:
                return RedirectResponse("/operator", 303)
            await self._find_standing(visit)
            with i18n.speaking(i18n.words_of(language, visit.standing.tenant.get("timezone"))):
                visit.words = i18n.current()
                if not visit.is_for_kind(page):
                    return _refused(visit, refusals.not_here())
                if lacking := visit.standing.lacks(page.permissions):
                    return _refused(visit, refusals.forbidden(lacking), await _kept(visit))
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
        except SessionEnded:
            return
        except Away:
            if visit.page.audience != "anybody":
                raise
            return
        self._use_session(visit, cookie)

    def _use_session(self, visit: Visit, cookie: str) -> None:
        assert visit.session is not None
        visit.use(visit.session)
        if not visit.session.is_operator:
            visit.api.renew = partial(self._renewed, cookie, visit.api.origin)

    async def _renewed(self, cookie: str, origin: Origin, refused: str) -> str:
        return await self._parts.sessions.renew(cookie, refused, origin)

    async def _find_standing(self, visit: Visit) -> None:
        assert visit.session is not None
        try:
            visit.standing = await self._standings.find(visit.api, visit.session)
        except Forbidden:
            if not _is_open_before(visit.page):
                raise

    async def _sign_in_again(self, visit: Visit) -> None:
        """Where a form brings along what it takes: begin another session, and go on with the form in it.

        Raises `SessionEnded` where it does not, and `SignInRefused`.
        """
        if visit.request.method in SAFE_METHODS or not _is_plain_form(visit.request):
            raise SessionEnded
        form = await visit.form()
        body = {name: given for name, field in SIGN_IN_FIELDS.items() if (given := form.plain(field))}
        if "password" not in body:
            raise SessionEnded
        api = Api(self._gateway, visit.api.origin, token=None, declared={SIGN_IN})
        try:
            issued = await api.identity.post("/v1/sessions", {"tenant": "", "email": "", **body})
        except Problem as problem:
            raise SignInRefused(problem) from problem
        ended = visit.request.cookies.get(self._parts.cookie.name)
        visit.new_cookie = await self._parts.sessions.begin(issued, replaces=ended)
        visit.session = await self._parts.sessions.find(visit.new_cookie, visit.api.origin, is_seen=True)
        self._use_session(visit, visit.new_cookie)

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

    async def _refused_by_service(self, visit: Visit, problem: Problem) -> Response:
        if visit.session is not None and isinstance(problem, Forbidden | PaymentRequired):
            # What the person may do has changed a moment ago.
            self._standings.forget(visit.session)
        refusal = refusals.of_problem(problem, visit.standing)
        return _refused(visit, refusal, await _kept(visit) if refusal.may_be_tried_again else ())

    async def _to_sign_in(self, visit: Visit, error: Exception) -> Response:
        request = visit.request
        if isinstance(error, Unauthorized) and visit.session is not None:
            await self._parts.sessions.end(visit.session.cookie)
            self._standings.forget(visit.session)
            visit.new_cookie = None
        if visit.page.audience == "operator" or visit.is_operator:
            return visit.sign_out(_onwards(visit, "/operator/sign-in", status=401))
        if visit.is_fragment:
            # The page stays as it is, and asks for the password itself (`session.js`).
            return visit.sign_out(HTMLResponse("", 401, {"HX-Reswap": "none"}))
        if request.method not in SAFE_METHODS and _is_plain_form(request):
            return visit.sign_out(await self._ask_to_sign_in(visit, None))
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/sign-in"
        if visit.page.title and visit.page.method == "GET" and asked != "/":
            target += f"?next={quote(asked, safe='/')}"
        return visit.sign_out(_onwards(visit, target, status=401))

    async def _ask_to_sign_in(self, visit: Visit, problem: Problem | None) -> Response:
        """A form that signs in again, and brings what was entered to where it was sent."""
        sent, asked = await _sent(visit), Form()
        if problem is not None:
            asked.refused(problem)
        known = {name: sent.plain(SIGN_IN_FIELDS[name]) for name in ("tenant", "email")}
        if not known["tenant"] and visit.session is not None:
            known = {"tenant": visit.person["tenant_id"], "email": visit.person["email"]}
        return visit.render(
            "parts/sign_in_again.html" if visit.is_fragment else "pages/sign_in_again.html",
            status=problem.status if problem is not None else 401,
            action=visit.request.url.path,
            fields=await _kept(visit),
            asked=asked,
            known=known,
            locked=visit.is_fragment,
            wants_code=problem is not None and problem.code in ("second_factor_required", "second_factor_wrong"),
        )


def _onwards(visit: Visit, target: str, *, status: int = 403) -> Response:
    """To another page; a script is told to go there, with this status."""
    return HTMLResponse("", status, {"HX-Redirect": target}) if visit.is_fragment else RedirectResponse(target, 303)


def _is_open_before(page: Page) -> bool:
    """Whether a page is open before a second factor is enrolled."""
    return page.path.startswith(ENROLMENT) or page.path in ("/sign-out", "/step-up")


def _refused(visit: Visit, refusal: Refusal, kept: Fields = ()) -> Response:
    template = "parts/refusal.html" if visit.is_fragment else "pages/refusal.html"
    response = visit.render(template, status=refusal.status, refusal=refusal, kept=kept)
    if visit.is_fragment:
        response.headers.update(ABOVE_THE_PAGE)
    if refusal.problem is not None and refusal.problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(refusal.problem.retry_after_seconds)
    return response


async def _kept(visit: Visit) -> Fields:
    """What was entered, to be sent once more; passwords are entered again."""
    fields = (await _sent(visit)).plain_fields()
    return [(name, value) for name, value in fields if name not in NOT_SENT_ON and not is_secret(name)]


async def _sent(visit: Visit) -> Form:
    """The form that was sent; an empty one where there is none, or none of ours."""
    if visit.request.method in SAFE_METHODS or not _is_plain_form(visit.request):
        return Form()
    try:
        return await visit.form()
    except (FormTooLarge, FormRefused):
        return Form()


def _is_plain_form(request: Request) -> bool:
    """Whether fields are sent, and no file."""
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


async def _nothing(visit: Visit) -> Response:
    return _refused(visit, refusals.not_here())


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
