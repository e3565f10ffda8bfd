"""Which locations must stay active."""

from collections.abc import Mapping, Sequence

from shared.errors import Conflict


class LocationNeeded(Conflict):
    """A location must be active: the tenant's default, or one of an active merchant's."""

    code = "location_needed"


def check_deactivatable(*, is_default: bool, stranded_merchant_ids: Sequence[str]) -> None:
    """Raises `LocationNeeded` for the default location, and for one without which active merchants have no active location."""
    if is_default:
        raise LocationNeeded("the default location cannot be deactivated", code="location_is_default")
    if stranded_merchant_ids:
        raise LocationNeeded("active merchants have no other active location", merchant_ids=list(stranded_merchant_ids))


def check_one_active(active_by_id: Mapping[str, bool], location_ids: Sequence[str]) -> None:
    """Raises `LocationNeeded` when none of a merchant's locations is active."""
    if not any(active_by_id.values()):
        raise LocationNeeded("none of this merchant's locations is active", location_ids=list(location_ids))
