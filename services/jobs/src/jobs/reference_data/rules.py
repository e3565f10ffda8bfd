"""Location rules: which locations a job of a merchant may have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.errors import Conflict, Invalid, Violation


class LocationsNotAllowed(Invalid):
    """The job may not have the requested locations."""


class MerchantInactive(Conflict):
    """The merchant is disabled, so no jobs can be created for it."""

    def __init__(self, merchant_id: str):
        super().__init__("this merchant is disabled", code="merchant_inactive", merchant_id=merchant_id)


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant, as far as location rules need it."""

    id: str
    active: bool
    location_ids: tuple[str, ...]
    default_location_id: str | None


def choose_location(merchant: Merchant, location_id: str | None, distribution_location_id: str | None) -> str:
    """The location of a job: the requested one, or the merchant's default.

    Raises `LocationsNotAllowed` with all violations: location_required, location_not_yours.
    """
    chosen = location_id or merchant.default_location_id
    violations = foreign_locations(merchant, chosen, distribution_location_id)
    if chosen is None:
        message = "name a location: this merchant has no default location"
        violations.insert(0, Violation("/location_id", "location_required", message))
    if violations or chosen is None:
        raise not_allowed(violations)
    return chosen


def foreign_locations(
    merchant: Merchant, location_id: str | None, distribution_location_id: str | None
) -> list[Violation]:
    """Violations (location_not_yours) for the locations that are not the merchant's."""
    pairs = (("/location_id", location_id), ("/distribution_location_id", distribution_location_id))
    return [
        Violation(pointer, "location_not_yours", "this is not one of the merchant's locations")
        for pointer, requested in pairs
        if requested is not None and requested not in merchant.location_ids
    ]


def inactive_locations(
    location_id: str | None, distribution_location_id: str | None, active: Mapping[str, bool]
) -> LocationsNotAllowed | None:
    """The refusal (location_inactive) if one of the locations is not active; else None."""
    pairs = (("/location_id", location_id), ("/distribution_location_id", distribution_location_id))
    violations = [
        Violation(pointer, "location_inactive", "this location is not active")
        for pointer, requested in pairs
        if requested is not None and not active[requested]
    ]
    return not_allowed(violations) if violations else None


def not_allowed(violations: Iterable[Violation]) -> LocationsNotAllowed:
    """The refusal with these violations."""
    return LocationsNotAllowed("the job cannot have these locations: see errors", *violations)
