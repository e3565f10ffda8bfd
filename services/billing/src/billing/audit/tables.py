"""The table of audit events."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from billing.registry import Base
from shared.postgres.tables import TypedId


class AuditRow(Base, table=True):
    """Who changed what by hand, from where; written in the transaction of the change, never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    address: str | None = Field(default=None, sa_column=Column(Text))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    before: dict[str, object] = Field(sa_column=Column(JSONB, nullable=False))
    after: dict[str, object] = Field(sa_column=Column(JSONB, nullable=False))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
