"""Locations: the branches and warehouses of a tenant; one of them is its default."""

from identity.locations.operations import (
    ListStrandedMerchants,
    activate,
    create,
    deactivate,
    index,
    new_row,
    publish,
    update,
)
from identity.locations.queries import active_by_id, get, list_locations, view, visible_rows
from identity.locations.rules import check_one_active
from identity.locations.schemas import Location
from identity.locations.tables import LocationRow

__all__ = [
    "ListStrandedMerchants",
    "Location",
    "LocationRow",
    "activate",
    "active_by_id",
    "check_one_active",
    "create",
    "deactivate",
    "get",
    "index",
    "list_locations",
    "new_row",
    "publish",
    "update",
    "view",
    "visible_rows",
]
