"""Declarations of who may call a route. Each handler has exactly one."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from shared.access.principals import ADMINISTRATION, EVERYONE, RouteAccess, Via

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])

ACCESS_ATTRIBUTE = "__waybill_access__"


class RouteUndeclared(Exception):
    """A route has no declaration, or a wrong one. The app cannot be made."""


def public() -> Callable[[HandlerT], HandlerT]:
    """Open to everyone, without credentials."""
    return _declare(RouteAccess("public", exempt_from_402=True))


def authenticated(
    *,
    api_credentials: bool = False,
    merchant_session: bool = False,
    exempt_from_402: bool = False,
    open_before_enrolment: bool = False,
) -> Callable[[HandlerT], HandlerT]:
    """Open to every caller of the admitted kinds, without a permission."""
    admits = _admits(api_credentials, merchant_session)
    return _declare(
        RouteAccess("authenticated", None, admits, exempt_from_402, open_before_enrolment=open_before_enrolment)
    )


def requires(
    permission: str,
    *,
    or_else: str | None = None,
    api_credentials: bool = False,
    merchant_session: bool = False,
    exempt_from_402: bool = False,
    step_up: bool = False,
) -> Callable[[HandlerT], HandlerT]:
    """Open to callers of the admitted kinds who have this permission, or the other one: the operation then tells which counts for what.

    With `step_up` a person must have given the password again.
    """
    admits = _admits(api_credentials, merchant_session)
    return _declare(RouteAccess("requires", permission, admits, exempt_from_402, or_else=or_else, step_up=step_up))


def merchant_only(*, api_credentials: bool = False, exempt_from_402: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Open to merchants only: in their own sessions, and with API credentials where that is said."""
    admits: frozenset[Via] = frozenset({"merchant_session", "pair"} if api_credentials else {"merchant_session"})
    return _declare(RouteAccess("authenticated", None, admits, exempt_from_402))


def session_only(
    *, exempt_from_402: bool = False, step_up: bool = False, open_before_enrolment: bool = False
) -> Callable[[HandlerT], HandlerT]:
    """Open to administrators and merchants in a session, not to keys."""
    admits: frozenset[Via] = frozenset({"session", "merchant_session"})
    return _declare(
        RouteAccess(
            "authenticated",
            None,
            admits,
            exempt_from_402,
            step_up=step_up,
            open_before_enrolment=open_before_enrolment,
        )
    )


def owner_only() -> Callable[[HandlerT], HandlerT]:
    """Open to the owner in a session only."""
    return _declare(RouteAccess("authenticated", None, frozenset({"session"}), owner_only=True))


def _admits(api_credentials: bool, merchant_session: bool) -> frozenset[Via]:
    if api_credentials and merchant_session:
        return EVERYONE
    pair: frozenset[Via] = frozenset({"pair"}) if api_credentials else frozenset()
    session: frozenset[Via] = frozenset({"merchant_session"}) if merchant_session else frozenset()
    return ADMINISTRATION | pair | session


def _declare(access: RouteAccess) -> Callable[[HandlerT], HandlerT]:
    def mark(handler: HandlerT) -> HandlerT:
        if hasattr(handler, ACCESS_ATTRIBUTE):
            raise RouteUndeclared(f"{handler.__name__} declares its access twice")
        setattr(handler, ACCESS_ATTRIBUTE, access)
        return handler

    return mark
