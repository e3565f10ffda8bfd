"""Which locations cannot be deactivated."""

from collections.abc import Iterable

from shared.errors import Conflict


class LocationNeeded(Conflict):
    code = "location_needed"


def check_deactivatable(*, is_default: bool, merchants_without_other: Iterable[str]) -> None:
    """Whether a location may stop: not the default one, and no active merchant may be left without any. Raises `LocationNeeded`."""
    if is_default:
        raise LocationNeeded("the default location cannot be deactivated", code="location_is_default")
    merchants = list(merchants_without_other)
    if merchants:
        raise LocationNeeded("active merchants have no other active location", merchant_ids=merchants)
