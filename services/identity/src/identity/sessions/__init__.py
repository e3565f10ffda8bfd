"""Sessions of people, with their refresh tokens; `authentication` opens and renews them."""

from identity.sessions.operations import (
    NewSession,
    create,
    delete_expired,
    delete_of_tenant,
    end_all,
    end_all_of_tenant,
    shorten,
    use_up_tokens,
)
from identity.sessions.queries import list_open
from identity.sessions.rules import device_of, next_valid_from, place_of, token_issued_at
from identity.sessions.schemas import OpenSession
from identity.sessions.tables import RefreshTokenRow, SessionRow

__all__ = [
    "NewSession",
    "OpenSession",
    "RefreshTokenRow",
    "SessionRow",
    "create",
    "delete_expired",
    "delete_of_tenant",
    "device_of",
    "end_all",
    "end_all_of_tenant",
    "list_open",
    "next_valid_from",
    "place_of",
    "shorten",
    "token_issued_at",
    "use_up_tokens",
]
