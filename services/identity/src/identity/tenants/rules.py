"""Which changes of a tenant are refused."""

from shared.errors import Conflict


class TenantClosed(Conflict):
    """A closed tenant stays closed."""

    code = "tenant_closed"


def check_status_change(current: str, requested: str) -> None:
    """Raises `TenantClosed`."""
    if current == "closed":
        raise TenantClosed("a closed tenant stays closed", current_status=current, requested=requested)
