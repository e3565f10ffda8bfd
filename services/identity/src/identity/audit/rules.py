"""What an audit event stores of a record and of its change."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_OMITTED = {"object", "created_at", "updated_at", "version", "invitation_token", "invitation_expires_at", "api_key"}


def snapshot(view: BaseModel | None) -> dict[str, Any] | None:
    """The API's view of a record without secrets and without fields that say nothing about a change."""
    return None if view is None else view.model_dump(mode="json", exclude=_OMITTED)


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The fields that differ, with their former and their new values; all fields when one side is missing."""
    if before is None or after is None:
        return (dict(before) if before is not None else None), (dict(after) if after is not None else None)
    changed = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in changed}, {name: after[name] for name in changed}
