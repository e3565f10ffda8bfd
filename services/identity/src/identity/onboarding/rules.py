"""Whether a new tenant is a test tenant."""

from shared.errors import Forbidden


def is_test(requested: bool | None, *, livemode: bool) -> bool:
    """Whether the new tenant is a test tenant; by default it has the key's mode.

    Raises `Forbidden` when a test key asks for a live tenant.
    """
    test = (not livemode) if requested is None else requested
    if not test and not livemode:
        raise Forbidden("a test key makes test tenants only", code="livemode_required")
    return test
