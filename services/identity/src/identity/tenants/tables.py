"""The table of tenants."""

from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, Column, Integer, Text, false
from sqlmodel import Field

from identity import registry


class TenantRow(registry.Base, table=True):
    """A company that opens its platform to its merchants."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),)

    tenant_id: str = Field(sa_column=registry.key("ten"))
    version: int = Field(sa_column=registry.version())
    name: str = Field(sa_column=registry.words())
    name_key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    country: str = Field(sa_column=registry.words())
    timezone: str = Field(sa_column=registry.words())
    currency: str = Field(sa_column=registry.words())
    status: str = Field(sa_column=registry.words())
    test: bool = Field(sa_column=registry.yes_or_no())
    trial_days: int | None = Field(sa_column=Column(Integer))
    job_review: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    # No foreign key: a user needs its tenant first, and both are made in one transaction.
    owner_id: str = Field(sa_column=registry.reference("usr"))
    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())
