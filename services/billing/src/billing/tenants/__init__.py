"""What billing has to know of a tenant, as identity told it: name, country, time zone, currency."""

from billing.tenants.operations import project
from billing.tenants.queries import Tenant, get, get_known, names, not_known, read
from billing.tenants.tables import TenantRow

__all__ = ["Tenant", "TenantRow", "get", "get_known", "names", "not_known", "project", "read"]
