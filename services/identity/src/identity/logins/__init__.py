"""Log-ins: the e-mail address, password hash and invitation of a person; an address is one person in a tenant."""

from identity.logins.operations import (
    NO_INVITATION,
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
    mail_email_change,
    mail_invitation,
    new_token,
    update_email,
)
from identity.logins.passwords import Attempt, Attempts, Passwords
from identity.logins.queries import get_by_email, get_by_invitation, get_by_reset, get_by_subject, get_tenant_id
from identity.logins.rules import RESET_LIFE, is_reset_open
from identity.logins.schemas import WithInvitation
from identity.logins.tables import LoginRow

__all__ = [
    "NO_INVITATION",
    "RESET_LIFE",
    "Attempt",
    "Attempts",
    "Invitation",
    "LoginRow",
    "Passwords",
    "Role",
    "WithInvitation",
    "add_inviter",
    "begin_reset",
    "create",
    "delete_of_tenant",
    "digest_token",
    "end_invitation",
    "end_reset",
    "get_by_email",
    "get_by_invitation",
    "get_by_reset",
    "get_by_subject",
    "get_tenant_id",
    "hash_if_given",
    "invite",
    "is_reset_open",
    "mail_email_change",
    "mail_invitation",
    "new_token",
    "update_email",
]
