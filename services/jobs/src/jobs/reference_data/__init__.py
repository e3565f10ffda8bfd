"""Merchants and locations, from the events of identity."""

from jobs.reference_data.queries import check_locations, get_merchants, get_time_zone
from jobs.reference_data.rules import Merchant, MerchantInactive, choose_location, foreign_locations, not_allowed

__all__ = [
    "Merchant",
    "MerchantInactive",
    "check_locations",
    "choose_location",
    "foreign_locations",
    "get_merchants",
    "get_time_zone",
    "not_allowed",
]
