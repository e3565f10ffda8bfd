"""The table of what jobs needs to know of a tenant."""

from sqlmodel import Field

from jobs.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt


class TenantSettingsRow(Base, table=True):
    """Settings of a tenant, as identity published them with this version of the tenant."""

    __tablename__ = "tenant_settings"

    tenant_id: TenantId = Field(primary_key=True)
    version: BigInt
    job_review: bool
    """Whether new jobs of merchants wait in `staging` until dispatch accepts them."""
