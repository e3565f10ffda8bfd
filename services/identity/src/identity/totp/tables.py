"""The table of second factors."""

from sqlalchemy import LargeBinary
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Instant, Text


class SecondFactorRow(Base, table=True):
    """The second factor of a user or merchant; it is asked for once a code has confirmed it."""

    __tablename__ = "second_factors"

    subject_id: Text = Field(primary_key=True)
    tenant_id: TenantId = Field(index=True, foreign_key="tenants.tenant_id")
    sealed_secret: bytes
    confirmed_at: Instant | None
    last_step: BigInt | None
    """Codes of this step of time and of earlier ones have been used."""
    recovery_digests: list[bytes] = Field(sa_type=ARRAY(LargeBinary))
    """Of the recovery codes that are left."""
