"""Users: the owner and the members of staff of a tenant, with their permissions."""

from identity.users.operations import (
    activate,
    create,
    disable,
    enable,
    exchange_owner,
    index,
    lock_for_reset,
    new_row,
    note_mail,
    publish,
    set_permissions,
    state,
    update,
)
from identity.users.queries import (
    full_name,
    get,
    get_held,
    get_permissions,
    list_holders,
    list_recipients,
    list_users,
    recipient,
    view,
)
from identity.users.rules import check_grantable
from identity.users.schemas import User
from identity.users.tables import UserRow

__all__ = [
    "User",
    "UserRow",
    "activate",
    "check_grantable",
    "create",
    "disable",
    "enable",
    "exchange_owner",
    "full_name",
    "get",
    "get_held",
    "get_permissions",
    "index",
    "list_holders",
    "list_recipients",
    "list_users",
    "lock_for_reset",
    "new_row",
    "note_mail",
    "publish",
    "recipient",
    "set_permissions",
    "state",
    "update",
    "view",
]
