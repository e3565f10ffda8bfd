"""Removes secrets from log entries, and limits their size."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

REDACTED = "[redacted]"
LOGGED_CHARACTERS_MAX = 10_000
LOGGED_DEPTH_MAX = 6
LOGGED_ITEMS_MAX = 100


_SECRET_KEY = re.compile(
    r"(?:^|[_\-. ])(?:authorization|password|passwd|secret|token|cookie|pepper"
    r"|auth[_-]?key|api[_-]?key|private[_-]?key|sealing[_-]?key)s?$",
    re.IGNORECASE,
)
_SECRET_VALUES = (
    # This pattern is first and ends before the next scheme: if another one removed that word, the credential after it would stay.
    (
        re.compile(r"\b(Bearer|Basic)\s+(?:(?!\b(?:Bearer|Basic)\s)[A-Za-z0-9._~+/=\-]){6,}", re.IGNORECASE),
        rf"\1 {REDACTED}",
    ),
    # API keys and webhook secrets: the kind stays readable.
    (re.compile(r"\b(wbk_(?:live_|test_)?)[A-Za-z0-9_\-]{6,}"), rf"\1{REDACTED}"),
    (re.compile(r"\b(whsec_)[A-Za-z0-9+/=_\-]{6,}"), rf"\1{REDACTED}"),
    # Invitations, refresh tokens and whatever else a person proves themselves with.
    (re.compile(r"\b(wb[a-z]_)[A-Za-z0-9_\-]{20,}"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.\-]*://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
)

EventDict = MutableMapping[str, Any]


def redact(value: object, depth: int = 0) -> object:
    """The value without secrets and limited in size. It removes values of keys with a secret's name, and what looks like a key or token."""
    if isinstance(value, str):
        text = value if len(value) <= LOGGED_CHARACTERS_MAX else f"{value[:LOGGED_CHARACTERS_MAX]}…"
        for pattern, replacement in _SECRET_VALUES:
            text = pattern.sub(replacement, text)
        return text
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= LOGGED_DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) else redact(item, depth + 1)
            for key, item in _first(value.items())
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in _first(value)]
    return redact(value.decode(errors="replace") if isinstance(value, bytes) else str(value), depth)


def _first(items: Iterable[Any]) -> Iterator[Any]:
    for index, item in enumerate(items):
        if index >= LOGGED_ITEMS_MAX:
            return
        yield item


def redact_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: REDACTED if _SECRET_KEY.search(key) else redact(value) for key, value in event.items()}
