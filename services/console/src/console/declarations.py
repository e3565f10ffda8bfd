"""What each page says of itself: path, title, place in the menu, who it is for, which permissions and which calls of the API it needs.

Tests iterate over these declarations; the menu is made of them; a call that is not declared is refused.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response

Handler = Callable[[Any], Awaitable[Response]]
"""Takes a `console.visits.Visit`, which stands above this module."""
Audience = Literal["anybody", "staff", "merchant", "operator", "signed in"]
"""`anybody`: without a session. `staff`: who works for the tenant, its owner included. `operator`: has a platform key."""


@dataclass(frozen=True, slots=True)
class Page:
    """One address of the console, and what stands behind it."""

    handler: Handler
    method: Literal["GET", "POST"]
    path: str
    title: str
    """Marked with `i18n.mark`; empty for what is no page of its own."""
    audience: Audience
    permissions: Sequence[str]
    """Those of the routes it cannot do without: who lacks one gets 403 and does not see it in the menu."""
    optional: Sequence[str]
    """Those of the routes for parts that are left out for who lacks them."""
    calls: Sequence[str]
    """`identity GET /v1/merchants`, …"""
    menu: str | None
    """Its entry in the menu (`console.menu`)."""
    sample: str | None
    """An address for the tests, where the path itself is none: names in braces are filled in from the tests' records."""


class Pages:
    """The pages of one noun."""

    def __init__(self) -> None:
        self.declared: list[Page] = []

    def page(
        self,
        path: str,
        *,
        title: str,
        audience: Audience = "staff",
        permissions: Sequence[str] = (),
        optional: Sequence[str] = (),
        calls: Sequence[str] = (),
        menu: str | None = None,
        sample: str | None = None,
    ) -> Callable[[Handler], Handler]:
        """A page that people open."""

        def declare(handler: Handler) -> Handler:
            self.declared.append(
                Page(handler, "GET", path, title, audience, permissions, optional, calls, menu, sample or path)
            )
            return handler

        return declare

    def fragment(
        self,
        path: str,
        *,
        audience: Audience = "staff",
        permissions: Sequence[str] = (),
        optional: Sequence[str] = (),
        calls: Sequence[str] = (),
    ) -> Callable[[Handler], Handler]:
        """A part of a page that is fetched by itself, or a file."""

        def declare(handler: Handler) -> Handler:
            self.declared.append(Page(handler, "GET", path, "", audience, permissions, optional, calls, None, None))
            return handler

        return declare

    def action(
        self,
        path: str,
        *,
        title: str = "",
        audience: Audience = "staff",
        permissions: Sequence[str] = (),
        optional: Sequence[str] = (),
        calls: Sequence[str] = (),
    ) -> Callable[[Handler], Handler]:
        """What a form or a button does: a POST that ends with a redirect, or shows the form again."""

        def declare(handler: Handler) -> Handler:
            self.declared.append(Page(handler, "POST", path, title, audience, permissions, optional, calls, None, None))
            return handler

        return declare
