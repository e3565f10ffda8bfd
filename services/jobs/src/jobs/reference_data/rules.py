"""Location rules: at which locations a merchant's job may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.errors import Conflict, Invalid, Violation


class LocationsNotAllowed(Invalid):
    """The job cannot be placed where it was asked to be."""


class MerchantInactive(Conflict):
    """The merchant is disabled, so nothing can be ordered for it."""

    def __init__(self, merchant_id: str):
        super().__init__("this merchant is disabled", code="merchant_inactive", merchant_id=merchant_id)


@dataclass(frozen=True, slots=True)
class Merchant:
    """What placing a job needs to know of the merchant it is for."""

    id: str
    active: bool
    location_ids: tuple[str, ...]
    default_location_id: str | None


def choose_location(merchant: Merchant, location_id: str | None, distribution_location_id: str | None) -> str:
    """The location of a job for which these were asked: the merchant's default when none was.

    Raises `LocationsNotAllowed` with all that is wrong: location_required, location_not_yours.
    """
    chosen = location_id or merchant.default_location_id
    violations = foreign_locations(merchant, chosen, distribution_location_id)
    if chosen is None:
        message = "name a location: this merchant has no default"
        violations.insert(0, Violation("/location_id", "location_required", message))
    if violations or chosen is None:
        raise not_allowed(violations)
    return chosen


def foreign_locations(
    merchant: Merchant, location_id: str | None, distribution_location_id: str | None
) -> list[Violation]:
    """What to say of those of these locations that are not the merchant's: location_not_yours."""
    pairs = (("/location_id", location_id), ("/distribution_location_id", distribution_location_id))
    return [
        Violation(pointer, "location_not_yours", "this is not one of the merchant's locations")
        for pointer, asked in pairs
        if asked is not None and asked not in merchant.location_ids
    ]


def inactive_locations(
    location_id: str | None, distribution_location_id: str | None, active: Mapping[str, bool]
) -> LocationsNotAllowed | None:
    """What to say when a location that the job was to have is not active; None when all of them are."""
    pairs = (("/location_id", location_id), ("/distribution_location_id", distribution_location_id))
    violations = [
        Violation(pointer, "location_inactive", "this location is not active")
        for pointer, asked in pairs
        if asked is not None and not active[asked]
    ]
    return not_allowed(violations) if violations else None


def not_allowed(violations: Iterable[Violation]) -> LocationsNotAllowed:
    """The refusal of a place, with all that is wrong with it."""
    return LocationsNotAllowed("the job cannot be placed there: see errors", *violations)
