"""What tenants say of themselves to billing: where they are taxed."""

from billing.billing_details.operations import get, update

__all__ = ["get", "update"]
