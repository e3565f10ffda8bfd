"""The table of tenants."""

from sqlmodel import Field

from billing.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Text


class TenantRow(Base, table=True):
    """A tenant, by its newest event."""

    __tablename__ = "tenants"

    tenant_id: TenantId = Field(primary_key=True)
    version: BigInt
    name: Text
    country: Text
    timezone: Text
    currency: Text
