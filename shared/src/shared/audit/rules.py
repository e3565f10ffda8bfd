"""What an audit event stores of a record and of its change."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from shared.observability.redaction import REDACTED, redact

_OMITTED = {
    "object",
    "created_at",
    "updated_at",
    "version",
    "invitation_token",
    "invitation_expires_at",
    "api_key",
    "secret",
}
"""Secrets, and fields that say nothing about a change."""
_NAMES_ONLY = {"headers"}
"""Objects whose values may be secrets: only the names of their members are stored."""

Values = BaseModel | Mapping[str, Any] | None
"""The API's view of a record, or some of its fields as JSON values; None: there is nothing to store."""


def differences(before: Values, after: Values) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The fields that differ, with their former and their new values, without secrets; all fields when one side is missing.

    Long values are cut like those of a log entry.
    """
    former, current = _fields(before), _fields(after)
    if former is not None and current is not None:
        changed = [name for name in current if former.get(name) != current[name]]
        former = {name: former.get(name) for name in changed}
        current = {name: current[name] for name in changed}
    return _without_secrets(former), _without_secrets(current)


def _fields(values: Values) -> dict[str, Any] | None:
    if isinstance(values, BaseModel):
        return values.model_dump(mode="json", exclude=_OMITTED)
    return None if values is None else dict(values)


def _without_secrets(fields: dict[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    stored = {
        name: dict.fromkeys(value, REDACTED) if name in _NAMES_ONLY and isinstance(value, dict) else value
        for name, value in fields.items()
    }
    redacted = redact(stored)
    assert isinstance(redacted, dict)
    return redacted
