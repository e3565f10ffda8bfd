"""API keys: those of users, which narrow their owner's permissions, and those of platform operators."""

from identity.api_keys.operations import (
    create,
    create_platform_key,
    list_platform_keys,
    redigest,
    revoke,
    revoke_platform_key,
)
from identity.api_keys.queries import list_api_keys
from identity.api_keys.tables import ApiKeyRow

__all__ = [
    "ApiKeyRow",
    "create",
    "create_platform_key",
    "list_api_keys",
    "list_platform_keys",
    "redigest",
    "revoke",
    "revoke_platform_key",
]
