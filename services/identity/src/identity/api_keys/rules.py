"""Which user API keys can be created."""

from datetime import datetime

from shared.errors import Forbidden, Invalid, Violation


def owner_of(subject_id: str | None) -> str:
    """The user who owns the new key: the caller. Raises `Forbidden` for a caller who is no user."""
    if subject_id is None:
        raise Forbidden("a user API key belongs to a user: create it in that user's session", code="user_required")
    return subject_id


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Raises `Invalid` for an instant that has passed."""
    if expires_at is not None and expires_at <= now:
        raise Invalid("the key would have expired", Violation("/expires_at", "in_the_past", "this instant has passed"))


def expiry_of_child(requested: datetime | None, parent_expires_at: datetime | None) -> datetime | None:
    """When a key that another key makes expires: by default with its parent. Raises `Invalid` for a later instant."""
    if parent_expires_at is None:
        return requested
    if requested is not None and requested > parent_expires_at:
        message = "a key expires no later than the key that makes it"
        raise Invalid(message, Violation("/expires_at", "outlives_parent", message))
    return requested or parent_expires_at


def check_mode(livemode: bool | None, *, test: bool) -> None:
    """Raises `Invalid` when the key would have another mode than its tenant."""
    if livemode is not None and livemode is test:
        message = "a key has the mode of its tenant"
        raise Invalid(message, Violation("/livemode", "livemode_mismatch", message))
