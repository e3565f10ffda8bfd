"""Which merchants may see and rotate their API credentials."""

from datetime import datetime

from shared.errors import Forbidden


def overlap_end(valid_until: datetime | None, now: datetime) -> datetime | None:
    """Until when the former key is valid; None: it is not."""
    return valid_until if valid_until is not None and valid_until > now else None


def check_enabled(*, level: int, required_level: int, api_access: bool) -> None:
    """Raises `Forbidden` for a merchant whose level cannot have API access, or whose API access is off."""
    if level != required_level:
        raise Forbidden(f"API access is for merchants of level {required_level}", code="merchant_level_required")
    if not api_access:
        raise Forbidden("API access is off for this merchant", code="api_access_off")
