"""Which changes of a tenant are refused."""

from shared.errors import Conflict, Forbidden


class TenantClosed(Conflict):
    """A closed tenant stays closed."""

    code = "tenant_closed"


def check_mode(*, livemode: bool, test: bool) -> None:
    """Raises `Forbidden` when a test key changes a live tenant."""
    if not livemode and not test:
        raise Forbidden("a test key changes test tenants only", code="livemode_required")


def check_status_change(current: str, requested: str) -> None:
    """Raises `TenantClosed`."""
    if current == "closed":
        raise TenantClosed("a closed tenant stays closed", current_status=current, requested=requested)
