"""The rules of tenants, and what is unique or limited in a tenant."""

from shared.errors import Conflict


class AlreadyExists(Conflict):
    """A value that is unique is in use; the problem names the record that has it."""

    code = "already_exists"


class LimitReached(Conflict):
    code = "limit_reached"


def unique_key(value: str) -> str:
    """The form in which names and e-mail addresses are compared."""
    return value.strip().casefold()


class TenantClosed(Conflict):
    """A closed tenant stays closed."""

    code = "tenant_closed"
