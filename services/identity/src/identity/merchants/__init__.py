"""Merchants, their API access and the API credentials that come with it."""

from identity.merchants.operations import (
    CredentialIssuer,
    create,
    disable,
    enable,
    end_overlap,
    grant_api_access,
    note_mail,
    publish_change,
    reveal_key,
    revoke_api_access,
    revoke_api_access_by_account,
    rotate_credentials,
    shred_keys,
    update,
)
from identity.merchants.queries import (
    get,
    index,
    list_merchants,
    list_stranded,
    lock_for_reset,
    lock_holder,
    recipient,
    state,
    visible_rows,
)
from identity.merchants.rules import API_ACCESS_LEVEL, KEY_OVERLAP_SECONDS_MAX
from identity.merchants.schemas import BY_WORDS, MerchantLevel, MerchantStatus
from identity.merchants.tables import MerchantRow

__all__ = [
    "API_ACCESS_LEVEL",
    "BY_WORDS",
    "KEY_OVERLAP_SECONDS_MAX",
    "CredentialIssuer",
    "MerchantLevel",
    "MerchantRow",
    "MerchantStatus",
    "create",
    "disable",
    "enable",
    "end_overlap",
    "get",
    "grant_api_access",
    "index",
    "list_merchants",
    "list_stranded",
    "lock_for_reset",
    "lock_holder",
    "note_mail",
    "publish_change",
    "recipient",
    "reveal_key",
    "revoke_api_access",
    "revoke_api_access_by_account",
    "rotate_credentials",
    "shred_keys",
    "state",
    "update",
    "visible_rows",
]
