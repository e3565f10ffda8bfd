"""What an audit event keeps of a record and of its change."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_OMITTED = {"object", "created_at", "updated_at", "version", "invitation_token", "invitation_expires_at", "api_key"}


def snapshot(view: BaseModel) -> dict[str, Any]:
    """What the trail keeps of a record: its API view without the parts that say nothing about a change, or too much."""
    return view.model_dump(mode="json", exclude=_OMITTED)


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if before is None or after is None:
        return (dict(before) if before is not None else None), (dict(after) if after is not None else None)
    changed = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in changed}, {name: after[name] for name in changed}
