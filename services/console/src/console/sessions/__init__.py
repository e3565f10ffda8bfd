"""Sessions of browsers: a cookie, and the tokens with which the API is called for whoever has it."""

from console.sessions.operations import (
    PURGE_SECONDS,
    BrowserSession,
    SessionEnded,
    Sessions,
)
from console.sessions.rules import (
    PLAIN,
    SAFE_METHODS,
    SECURE,
    Cookie,
    comes_from_own_page,
    form_token,
    is_form_token,
    local_path,
)
from console.sessions.tables import BrowserSessionRow, RefreshRow

__all__ = [
    "PLAIN",
    "PURGE_SECONDS",
    "SAFE_METHODS",
    "SECURE",
    "BrowserSession",
    "BrowserSessionRow",
    "Cookie",
    "RefreshRow",
    "SessionEnded",
    "Sessions",
    "comes_from_own_page",
    "form_token",
    "is_form_token",
    "local_path",
]
