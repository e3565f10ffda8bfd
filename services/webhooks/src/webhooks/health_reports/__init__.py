"""The health of all endpoints and locations of a tenant at a look."""

from webhooks.health_reports.queries import get_health

__all__ = ["get_health"]
