"""The table of log-ins."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Column, ForeignKey, LargeBinary, Text
from sqlmodel import Field

from identity import registry
from shared.postgres.tables import TypedId


class LoginRow(registry.Base, table=True):
    """How a person, administrator or merchant, comes in: one e-mail address is one person in a tenant."""

    __tablename__ = "logins"
    __table_args__ = (CheckConstraint("kind IN ('user', 'merchant')", name="kind"),)

    tenant_id: str = Field(sa_column=Column(TypedId("ten"), ForeignKey("tenants.tenant_id"), primary_key=True))
    email_key: str = Field(sa_column=Column(Text, primary_key=True))
    subject_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    kind: str = Field(sa_column=registry.words())
    password_hash: str | None = Field(sa_column=registry.words(nullable=True))
    invitation_digest: bytes | None = Field(sa_column=Column(LargeBinary, unique=True))
    invitation_expires_at: datetime | None = Field(sa_column=registry.instant(nullable=True))
