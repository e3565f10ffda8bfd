"""The table of merchants, with their API credentials."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from identity import registry
from shared.postgres.tables import TypedId


class MerchantRow(registry.Base, table=True):
    """A merchant and the pair that it uses the API with: one aggregate, one version."""

    __tablename__ = "merchants"
    __table_args__ = (
        CheckConstraint("level IN (1, 2)", name="level"),
        CheckConstraint("status IN ('active', 'disabled')", name="status"),
        CheckConstraint("NOT api_access OR (level = 2 AND status = 'active')", name="api_access"),
        CheckConstraint("NOT api_access OR (account_id IS NOT NULL AND sealed_key IS NOT NULL)", name="pair"),
        CheckConstraint("cardinality(location_ids) > 0", name="locations"),
        CheckConstraint(
            "default_location_id IS NULL OR default_location_id = ANY (location_ids)", name="default_location"
        ),
        Index("ix_merchants_reference_id", "tenant_id", "reference_id", unique=True),
        Index("ix_merchants_page", "tenant_id", "created_at", "merchant_id"),
        Index("ix_merchants_account_id", "account_id", unique=True),
        Index("ix_merchants_location_ids", "location_ids", postgresql_using="gin"),
    )

    merchant_id: str = Field(sa_column=registry.key("mer"))
    tenant_id: str = Field(sa_column=registry.reference("ten", to="tenants.tenant_id"))
    version: int = Field(sa_column=registry.version())
    business_name: str = Field(sa_column=registry.words())
    login_email: str = Field(sa_column=registry.words())
    contact_email: str | None = Field(sa_column=registry.words(nullable=True))
    phone: str | None = Field(sa_column=registry.words(nullable=True))
    address: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
    level: int = Field(sa_column=Column(Integer, nullable=False))
    status: str = Field(sa_column=registry.words())
    api_access: bool = Field(sa_column=registry.yes_or_no())
    location_ids: list[str] = Field(sa_column=Column(ARRAY(TypedId("loc")), nullable=False))
    default_location_id: str | None = Field(
        sa_column=registry.reference("loc", to="locations.location_id", nullable=True)
    )
    reference_id: str | None = Field(sa_column=registry.words(nullable=True))
    details: dict[str, str] = Field(sa_column=Column("metadata", JSONB, nullable=False))
    sessions_valid_from: datetime = Field(sa_column=registry.instant())
    livemode: bool = Field(sa_column=registry.yes_or_no())

    # The pair. The account id is given once and stays for ever; key and digest are those of the latest grant or rotation, and the
    # sealed copy is gone as soon as access is.
    account_id: str | None = Field(default=None, sa_column=registry.reference("acct", nullable=True))
    sealed_key: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    key_hint: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    key_digest: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    key_pepper_version: int | None = Field(default=None, sa_column=Column(SmallInteger))
    key_made_at: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))
    previous_key_digest: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    previous_key_pepper_version: int | None = Field(default=None, sa_column=Column(SmallInteger))
    previous_key_valid_until: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))
    last_used_at: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))

    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())
