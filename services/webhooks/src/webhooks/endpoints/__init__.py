"""Webhook endpoints: their settings, secrets, health and statistics, and the cache that matching and sending read."""

from webhooks.endpoints import stats
from webhooks.endpoints.cache import EndpointCache
from webhooks.endpoints.health import FailureStreaks, write_streaks
from webhooks.endpoints.operations import (
    GONE,
    create,
    delete,
    disable,
    disable_automatically,
    enable,
    end_secret_overlap,
    reveal_secret,
    rotate_secret,
    update,
)
from webhooks.endpoints.queries import get, get_public_key, get_row, list_endpoints, of_tenant, visible_to
from webhooks.endpoints.rules import (
    EVERYTHING,
    PATTERN_LENGTH_MAX,
    READ,
    REPLAY,
    TYPES_KEPT_MAX,
    DisablePolicy,
    require_valid,
    wants_type,
)
from webhooks.endpoints.schemas import EndpointEnabled, EventTypePattern, EventTypes, LocationsIn
from webhooks.endpoints.secrets import EndpointPolicy, headers_of_row, to_delivery_target
from webhooks.endpoints.tables import EndpointRow

__all__ = [
    "EVERYTHING",
    "GONE",
    "PATTERN_LENGTH_MAX",
    "READ",
    "REPLAY",
    "TYPES_KEPT_MAX",
    "DisablePolicy",
    "EndpointCache",
    "EndpointEnabled",
    "EndpointPolicy",
    "EndpointRow",
    "EventTypePattern",
    "EventTypes",
    "FailureStreaks",
    "LocationsIn",
    "create",
    "delete",
    "disable",
    "disable_automatically",
    "enable",
    "end_secret_overlap",
    "get",
    "get_public_key",
    "get_row",
    "headers_of_row",
    "list_endpoints",
    "of_tenant",
    "require_valid",
    "reveal_secret",
    "rotate_secret",
    "stats",
    "to_delivery_target",
    "update",
    "visible_to",
    "wants_type",
    "write_streaks",
]
