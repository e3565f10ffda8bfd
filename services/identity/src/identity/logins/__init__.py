"""Log-ins: the e-mail address, password hash and invitation of a person; an address is one person in a tenant."""

from identity.logins.operations import (
    NO_INVITATION,
    EmailUpdate,
    Invitation,
    Role,
    add_inviter,
    begin_reset,
    create,
    delete_of_tenant,
    digest_token,
    end_invitation,
    end_reset,
    hash_if_given,
    invite,
    mail_invitation,
    move_email,
    new_token,
    require_free_email,
    update_email,
)
from identity.logins.passwords import Attempt, Attempts, Passwords
from identity.logins.queries import (
    find,
    get_by_invitation,
    get_by_new_email,
    get_by_reset,
    get_by_subject,
)
from identity.logins.rules import EMAIL_CHANGE_LIFE, RESET_LIFE, add_place, is_token_open
from identity.logins.schemas import WithEmailChange, WithInvitation
from identity.logins.tables import LoginRow

__all__ = [
    "EMAIL_CHANGE_LIFE",
    "NO_INVITATION",
    "RESET_LIFE",
    "Attempt",
    "Attempts",
    "EmailUpdate",
    "Invitation",
    "LoginRow",
    "Passwords",
    "Role",
    "WithEmailChange",
    "WithInvitation",
    "add_inviter",
    "add_place",
    "begin_reset",
    "create",
    "delete_of_tenant",
    "digest_token",
    "end_invitation",
    "end_reset",
    "find",
    "get_by_invitation",
    "get_by_new_email",
    "get_by_reset",
    "get_by_subject",
    "hash_if_given",
    "invite",
    "is_token_open",
    "mail_invitation",
    "move_email",
    "new_token",
    "require_free_email",
    "update_email",
]
