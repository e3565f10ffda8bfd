"""Locations: branches and warehouses. One of them is the tenant's default."""

from identity.locations.operations import ListStrandedMerchants, activate, create, deactivate, new_row, publish, update
from identity.locations.queries import active_by_id, get, list_locations, view
from identity.locations.rules import LocationNeeded
from identity.locations.schemas import Location
from identity.locations.tables import LocationRow

__all__ = [
    "ListStrandedMerchants",
    "Location",
    "LocationNeeded",
    "LocationRow",
    "activate",
    "active_by_id",
    "create",
    "deactivate",
    "get",
    "list_locations",
    "new_row",
    "publish",
    "update",
    "view",
]
