"""The table of tenants."""

from sqlalchemy import CheckConstraint, false
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import TenantId, UserId
from shared.postgres.column_types import BigInt, Instant, Text


class TenantRow(Base, table=True):
    """A company that opens its platform to merchants."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),)

    tenant_id: TenantId = Field(primary_key=True)
    version: BigInt
    name: Text
    name_key: Text = Field(unique=True)
    country: Text
    timezone: Text
    currency: Text
    status: Text
    test: bool
    trial_days: int | None
    job_review: bool = Field(sa_column_kwargs={"server_default": false()})
    # No foreign key: the user refers to the tenant, and both are created in one transaction.
    owner_id: UserId
    created_at: Instant
    updated_at: Instant
