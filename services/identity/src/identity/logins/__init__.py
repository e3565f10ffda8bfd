"""Log-ins: the e-mail address, password hash and invitation of a person; an address is one person in a tenant."""

from identity.logins.operations import (
    NO_INVITATION,
    Invitation,
    Role,
    create,
    delete_of_tenant,
    digest_token,
    hash_if_given,
    mail_email_change,
    mail_invitation,
    new_token,
    update_email,
)
from identity.logins.passwords import Attempt, Attempts, Passwords
from identity.logins.queries import get_by_email, get_by_invitation, get_by_subject, get_tenant_id
from identity.logins.schemas import WithInvitation
from identity.logins.tables import LoginRow

__all__ = [
    "NO_INVITATION",
    "Attempt",
    "Attempts",
    "Invitation",
    "LoginRow",
    "Passwords",
    "Role",
    "WithInvitation",
    "create",
    "delete_of_tenant",
    "digest_token",
    "get_by_email",
    "get_by_invitation",
    "get_by_subject",
    "get_tenant_id",
    "hash_if_given",
    "mail_email_change",
    "mail_invitation",
    "new_token",
    "update_email",
]
