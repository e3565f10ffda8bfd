"""The table of tenants."""

from sqlalchemy import text
from sqlmodel import Field

from billing.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Text


class TenantRow(Base, table=True):
    """A tenant, by its newest event, and what it has said to billing alone."""

    __tablename__ = "tenants"

    tenant_id: TenantId = Field(primary_key=True)
    version: BigInt
    name: Text
    country: Text
    timezone: Text
    currency: Text
    region: Text | None = None
    """Where in its country it is taxed, as it has said itself: QC."""
    details_version: BigInt = Field(1, sa_column_kwargs={"server_default": text("1")})
