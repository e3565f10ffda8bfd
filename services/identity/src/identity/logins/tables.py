"""The table of log-ins."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, LargeBinary
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import InvitationId, TenantId
from shared.postgres.column_types import Instant, Text, TextArray


class LoginRow(Base, table=True):
    """The log-in of a user or merchant: one e-mail address is one person in a tenant."""

    __tablename__ = "logins"
    __table_args__ = (CheckConstraint("kind IN ('user', 'merchant')", name="kind"),)

    tenant_id: TenantId = Field(primary_key=True, foreign_key="tenants.tenant_id")
    email_key: Text = Field(primary_key=True)
    subject_id: Text = Field(unique=True)
    kind: Text
    password_hash: Text | None

    # The invitation of somebody who has no password yet. Without a digest it was withdrawn.
    invitation_id: InvitationId | None = Field(unique=True)
    invited_at: Instant | None
    inviters: TextArray
    """Ids of those who gave the permissions that come with it: users, or the platform's keys. Empty: nobody knows, it is an old one."""
    invitation_digest: bytes | None = Field(unique=True)
    invitation_expires_at: Instant | None

    # The latest reset of the password, and when the mails of the last hour were written.
    reset_digest: bytes | None = Field(unique=True)
    reset_expires_at: Instant | None
    reset_mailed_at: list[datetime] = Field(sa_type=ARRAY(DateTime(timezone=True)))

    # The address that is to take the place of the present one, once a mail to it was answered.
    new_email: Text | None
    new_email_digest: bytes | None = Field(unique=True)
    new_email_expires_at: Instant | None

    places: list[bytes] = Field(sa_type=ARRAY(LargeBinary))
    """Digests of the places from which the person logged in, the latest new ones."""
