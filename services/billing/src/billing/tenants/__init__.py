"""What billing has to know of a tenant, as identity told it: name, country, time zone, currency."""

from billing.tenants.operations import project
from billing.tenants.queries import get, get_many, lock, zones
from billing.tenants.tables import TenantRow

__all__ = ["TenantRow", "get", "get_many", "lock", "project", "zones"]
