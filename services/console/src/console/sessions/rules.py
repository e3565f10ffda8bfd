"""What a session's cookie is, how long it lasts, and which requests may come from its pages. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

SAFE_METHODS = frozenset({"GET", "HEAD"})
RENEWED_BEFORE_SECONDS = 30
"""A token is renewed when it has less than this left: what a page calls with it takes seconds."""
OPERATION_LIFE = timedelta(hours=1)
"""How long a platform key is kept for whoever gave it."""
SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is known when a session was last seen."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """How the session's cookie is set."""

    name: str
    secure: bool


SECURE = Cookie("__Host-waybill_session", secure=True)
PLAIN = Cookie("waybill_session", secure=False)
"""For browsers of this machine, without TLS."""


def digest_of(cookie: str) -> bytes:
    """What is stored of a cookie."""
    return hashlib.sha256(cookie.encode()).digest()


def hint_of(key: str) -> str:
    """What is shown of a key: its kind and its end."""
    return f"{key[:9]}…{key[-4:]}"


def form_token(cookie: str) -> str:
    """What forms of this session send along; it tells nothing of the cookie."""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()


def is_form_token(cookie: str, given: str) -> bool:
    """Whether a form comes from a page of this session."""
    return hmac.compare_digest(form_token(cookie).encode(), given.encode())


def comes_from_own_page(headers: Mapping[str, str], base_url: str) -> bool:
    """Whether a browser says that one of our own pages made this request, or the person by hand."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    return headers.get("origin") == base_url


def is_over(*, last_seen_at: datetime, expires_at: datetime, idle: timedelta, now: datetime) -> bool:
    """Whether a session has ended by itself."""
    return now >= expires_at or now - last_seen_at >= idle


def has_to_renew(token_expires_at: datetime, now: datetime) -> bool:
    """Whether the token of the API is too old for a page."""
    return token_expires_at - now < timedelta(seconds=RENEWED_BEFORE_SECONDS)


def local_path(given: str) -> str:
    """A path of this console to go on to after signing in, else the first page: an address that leads elsewhere is none."""
    well_formed = given.startswith("/") and not given.startswith("//") and "\\" not in given
    return given if well_formed and given.isprintable() else "/"
