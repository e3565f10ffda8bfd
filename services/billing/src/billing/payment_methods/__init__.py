"""Payment methods as the tenant sees them: listed, chosen, deleted. One is given on the provider's own page (`checkout`)."""

from billing.payment_methods.operations import delete, give, make_default
from billing.payment_methods.queries import get, list_of_tenant

__all__ = ["delete", "get", "give", "list_of_tenant", "make_default"]
