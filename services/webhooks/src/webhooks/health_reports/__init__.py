"""The health of all endpoints and locations of a tenant at a look, or of one endpoint, and the names of locations."""

from webhooks.health_reports.queries import get_endpoint_health, get_health, list_locations

__all__ = ["get_endpoint_health", "get_health", "list_locations"]
