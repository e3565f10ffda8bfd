"""Tenants: changed, suspended, activated, and locked for what is unique or counted in one. `onboarding` creates them."""

from identity.tenants.operations import activate, publish, suspend, update, update_own
from identity.tenants.queries import get, list_tenants, lock_own, require_free_name, require_room, view, visible_to
from identity.tenants.rules import AlreadyExists, unique_key
from identity.tenants.schemas import JOB_REVIEW_DESCRIPTION, Tenant
from identity.tenants.tables import TenantRow

__all__ = [
    "JOB_REVIEW_DESCRIPTION",
    "AlreadyExists",
    "Tenant",
    "TenantRow",
    "activate",
    "get",
    "list_tenants",
    "lock_own",
    "publish",
    "require_free_name",
    "require_room",
    "suspend",
    "unique_key",
    "update",
    "update_own",
    "view",
    "visible_to",
]
