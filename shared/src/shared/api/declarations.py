"""Who may call a route: a handler carries exactly one of these declarations."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from shared.access.principals import ADMINISTRATION, EVERYONE, RouteAccess, Via

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])

ACCESS_ATTRIBUTE = "__waybill_access__"


class RouteUndeclared(Exception):
    """A route does not say who may call it, or says it wrongly: a mistake of ours, found when the app is made."""


# -- declarations ----------------------------------------------------------------------------------------------------------


def public() -> Callable[[HandlerT], HandlerT]:
    """Open to anybody."""
    return _declare(RouteAccess("public", exempt_from_402=True))


def authenticated(
    *, api_credentials: bool = False, merchant_session: bool = False, exempt_from_402: bool = False
) -> Callable[[HandlerT], HandlerT]:
    """Open to any caller of the admitted kinds, whatever their permissions."""
    return _declare(RouteAccess("authenticated", None, _admits(api_credentials, merchant_session), exempt_from_402))


def requires(
    permission: str, *, api_credentials: bool = False, merchant_session: bool = False, exempt_from_402: bool = False
) -> Callable[[HandlerT], HandlerT]:
    """Open to callers of the admitted kinds who hold this permission."""
    return _declare(RouteAccess("requires", permission, _admits(api_credentials, merchant_session), exempt_from_402))


def merchant_only(*, exempt_from_402: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Open to a merchant in its own session, and to nobody else."""
    return _declare(RouteAccess("authenticated", None, frozenset({"merchant_session"}), exempt_from_402))


def session_only(*, exempt_from_402: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Open to people in a session, administrators and merchants, and to no key."""
    return _declare(RouteAccess("authenticated", None, frozenset({"session", "merchant_session"}), exempt_from_402))


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
