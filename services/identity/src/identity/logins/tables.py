"""The table of log-ins."""

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import Instant, Text


class LoginRow(Base, table=True):
    """The log-in of a user or merchant: one e-mail address is one person in a tenant."""

    __tablename__ = "logins"
    __table_args__ = (CheckConstraint("kind IN ('user', 'merchant')", name="kind"),)

    tenant_id: TenantId = Field(primary_key=True, foreign_key="tenants.tenant_id")
    email_key: Text = Field(primary_key=True)
    subject_id: Text = Field(unique=True)
    kind: Text
    password_hash: Text | None
    invitation_digest: bytes | None = Field(unique=True)
    invitation_expires_at: Instant | None
