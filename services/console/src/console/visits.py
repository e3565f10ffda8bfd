"""One visit: a request of a browser, whose it is, and what a page needs to answer it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.declarations import Page
from console.examples import Example, examples_of
from console.forms import FORM_TOKEN, Form
from console.gateway import Api
from console.i18n import Words
from console.live import Live
from console.menu import MENU, Place
from console.saved_views import SavedViews
from console.sessions import SAFE_METHODS, BrowserSession, Cookie, Sessions, is_form_token
from console.standings import UNKNOWN, Standing

MESSAGE_COOKIE = "waybill_message"
MESSAGE_SECONDS = 30
LANGUAGE_COOKIE, THEME_COOKIE = "waybill_language", "waybill_theme"
THEMES = ("light", "dark")
"""What may be chosen; else it is the theme of the system."""


class FormTooLarge(Exception):
    """A form has more bytes than are read."""


class FormRefused(Exception):
    """A form cannot be read, or does not come from a page of this session."""


@dataclass
class Parts:
    """What all visits share."""

    templates: Environment
    sessions: Sessions
    live: Live
    views: SavedViews
    cookie: Cookie
    pages: list[Page]
    base_url: str
    body_bytes_max: int
    allow_http: bool
    metrics_path: str


@dataclass
class Visit:
    """What a page's handler gets."""

    parts: Parts
    request: Request
    page: Page
    words: Words
    api: Api
    session: BrowserSession | None = None
    standing: Standing = UNKNOWN
    new_cookie: str | None = None
    """That of a session which began with this request, because the one of before had ended."""
    _form: Form | None = field(default=None, repr=False)

    @property
    def ids(self) -> Mapping[str, str]:
        """The names in the path."""
        return self.request.path_params

    @property
    def query(self) -> Any:
        return self.request.query_params

    @property
    def person(self) -> Mapping[str, Any]:
        """Who is signed in: id, kind, tenant_id, email, name."""
        return self.session.person if self.session else {}

    @property
    def is_fragment(self) -> bool:
        """Whether a script asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    async def form(self) -> Form:
        """What was entered. Raises `FormTooLarge` and `FormRefused`."""
        if self._form is None:
            self._form = await self._read_form()
        return self._form

    async def _read_form(self) -> Form:
        body = b""
        async for piece in self.request.stream():
            body += piece
            if len(body) > self.parts.body_bytes_max:
                raise FormTooLarge
        try:
            form = Form.parse(body)
        except ValueError as error:
            raise FormRefused from error
        if self.session is not None and not is_form_token(self.session.cookie, form.plain(FORM_TOKEN)):
            raise FormRefused
        return form

    def render(self, template: str, *, status: int = 200, **content: Any) -> Response:
        """A page, or a part of one."""
        text = self.parts.templates.get_template(template).render(
            visit=self, words=self.words, standing=self.standing, person=self.person, page=self.page, **content
        )
        response = HTMLResponse(text, status)
        if MESSAGE_COOKIE in self.request.cookies and not self.is_fragment:
            response.delete_cookie(MESSAGE_COOKIE, path="/")
        return response

    def redirect(self, path: str, *, message: str = "") -> Response:
        """Go on to another page of the console, which says this once."""
        response = RedirectResponse(path, 303)
        if message:
            response.set_cookie(
                MESSAGE_COOKIE,
                message.encode().hex(),
                max_age=MESSAGE_SECONDS,
                path="/",
                secure=self.parts.cookie.secure,
                httponly=True,
                samesite="lax",
            )
        return response

    @property
    def message(self) -> str:
        """What the page before this one had to say."""
        try:
            return bytes.fromhex(self.request.cookies.get(MESSAGE_COOKIE, "")).decode()
        except ValueError:
            return ""

    @property
    def theme(self) -> str:
        """`light`, `dark`, or empty for that of the system."""
        chosen = self.request.cookies.get(THEME_COOKIE, "")
        return chosen if chosen in THEMES else ""

    @property
    def here(self) -> str:
        """The address of this page; of what was sent to it, where it has none, the first page."""
        url = self.request.url
        if self.request.method in SAFE_METHODS:
            return url.path + (f"?{url.query}" if url.query else "")
        is_page = any(page.path == self.page.path and page.title and page.method == "GET" for page in self.parts.pages)
        return url.path if is_page else "/"

    @property
    def form_token(self) -> str:
        return self.session.form_token if self.session else ""

    @property
    def menu(self) -> list[tuple[str, list[tuple[Place, Page]]]]:
        """Headings with the entries that this person may open."""
        found = []
        for section in MENU:
            entries = [
                (place, page)
                for place in section.places
                for page in self.parts.pages
                if page.menu == place.key and self.may_open(page)
            ]
            if entries:
                found.append((section.label, entries))
        return found

    @property
    def is_operator(self) -> bool:
        return self.session is not None and self.session.is_operator

    @property
    def acts_in_tenant(self) -> bool:
        """Whether an operator sees a tenant's pages."""
        return self.is_operator and bool(self.person["tenant_id"])

    @property
    def needs_tenant(self) -> bool:
        """Whether this is a page of a tenant, and an operator has chosen none."""
        is_of_tenant = self.page.audience in ("staff", "merchant") or self.page.path == "/"
        return self.is_operator and is_of_tenant and not self.acts_in_tenant

    def use(self, session: BrowserSession) -> None:
        """Call the services with what this session has."""
        if not session.is_operator:
            self.api.token = session.token
            return
        self.api.platform_key = session.token
        if self.page.audience != "operator":
            self.api.tenant_id = session.person["tenant_id"]

    def may_open(self, page: Page) -> bool:
        """Whether this person may open a page."""
        if page.audience == "operator":
            return self.is_operator
        if self.is_operator and not self.acts_in_tenant:
            return False
        return self.is_for_kind(page) and self.standing.holds(*page.permissions)

    def is_for_kind(self, page: Page) -> bool:
        """Whether a page of a tenant is for people of this kind: who works for it, or its merchants."""
        is_merchant = self.person.get("kind") == "merchant"
        return page.audience not in ("staff", "merchant") or (page.audience == "merchant") == is_merchant

    @property
    def api_examples(self) -> list[Example]:
        """The calls that this page has made, as one would make them oneself."""
        return examples_of(self.api.calls, self.parts.base_url)

    def sign_in(self, response: Response, cookie: str) -> Response:
        """Set the session's cookie."""
        settings = self.parts.cookie
        response.set_cookie(settings.name, cookie, path="/", secure=settings.secure, httponly=True, samesite="lax")
        return response

    def sign_out(self, response: Response) -> Response:
        """Take the session's cookie away."""
        settings = self.parts.cookie
        response.delete_cookie(settings.name, path="/", secure=settings.secure, httponly=True, samesite="lax")
        return response
