"""Tenants, merchants and locations, from the events of identity."""

from jobs.reference_data.operations import apply_tenant_events
from jobs.reference_data.queries import check_locations, get_job_review, get_merchants, get_time_zone
from jobs.reference_data.rules import Merchant, MerchantInactive, choose_location, foreign_locations, not_allowed
from jobs.reference_data.tables import TenantSettingsRow

__all__ = [
    "Merchant",
    "MerchantInactive",
    "TenantSettingsRow",
    "apply_tenant_events",
    "check_locations",
    "choose_location",
    "foreign_locations",
    "get_job_review",
    "get_merchants",
    "get_time_zone",
    "not_allowed",
]
