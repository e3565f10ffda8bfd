"""The rows of the audit trail; they are never changed."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Identity, Index, Text
from sqlmodel import Field

from shared.postgres.tables import TypedId
from webhooks.registry import Base, instant_column


class AuditRow(Base, table=True):
    """Who changed an endpoint or looked at its secret; written in the same transaction, never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=instant_column(nullable=False))
