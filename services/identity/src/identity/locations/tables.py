"""The table of locations."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from identity import registry


class LocationRow(registry.Base, table=True):
    """A branch or warehouse; never deleted, because jobs and webhooks of any age name it."""

    __tablename__ = "locations"
    __table_args__ = (
        CheckConstraint("type IN ('branch', 'warehouse')", name="type"),
        CheckConstraint("active OR NOT is_default", name="default_active"),
        Index("ix_locations_default", "tenant_id", unique=True, postgresql_where=text("is_default")),
        Index("ix_locations_reference_id", "tenant_id", "reference_id", unique=True),
        Index("ix_locations_page", "tenant_id", "created_at", "location_id"),
    )

    location_id: str = Field(sa_column=registry.key("loc"))
    tenant_id: str = Field(sa_column=registry.reference("ten", to="tenants.tenant_id"))
    version: int = Field(sa_column=registry.version())
    type: str = Field(sa_column=registry.words())
    name: str = Field(sa_column=registry.words())
    reference_id: str | None = Field(sa_column=registry.words(nullable=True))
    address: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
    geo: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
    timezone: str = Field(sa_column=registry.words())
    active: bool = Field(sa_column=registry.yes_or_no())
    is_default: bool = Field(sa_column=registry.yes_or_no())
    livemode: bool = Field(sa_column=registry.yes_or_no())
    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())
