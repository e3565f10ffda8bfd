"""Who may hand a tenant over."""

from shared.errors import Forbidden


def check_owner(actor_id: str, owner_id: str) -> None:
    """Raises `Forbidden` for somebody who does not own the tenant (any more)."""
    if actor_id != owner_id:
        raise Forbidden("somebody else owns this tenant", code="owner_required")
