"""API Settings: administrators list API Account IDs; a merchant reveals and rotates its own API credentials."""

from identity.api_credentials.operations import end_overlap, redigest, redigest_locked, reveal, rotate
from identity.api_credentials.queries import get_settings, list_api_accounts, list_own_locations

__all__ = [
    "end_overlap",
    "get_settings",
    "list_api_accounts",
    "list_own_locations",
    "redigest",
    "redigest_locked",
    "reveal",
    "rotate",
]
