"""Tenants: read, updated, suspended, activated, and locked while something in them changes. `onboarding` creates them."""

from identity.tenants.operations import activate, publish, suspend, update, update_own
from identity.tenants.queries import get, list_tenants, lock_own, require_free_name, view
from identity.tenants.schemas import JOB_REVIEW_DESCRIPTION, Tenant
from identity.tenants.tables import TenantRow

__all__ = [
    "JOB_REVIEW_DESCRIPTION",
    "Tenant",
    "TenantRow",
    "activate",
    "get",
    "list_tenants",
    "lock_own",
    "publish",
    "require_free_name",
    "suspend",
    "update",
    "update_own",
    "view",
]
