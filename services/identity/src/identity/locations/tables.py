"""The table of locations."""

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import LocationId, TenantId
from shared.postgres.column_types import BigInt, Instant, Json, Text, TextArray


class LocationRow(Base, table=True):
    """A branch or warehouse. It is never deleted, because jobs and webhooks refer to it."""

    __tablename__ = "locations"
    __table_args__ = (
        CheckConstraint("type IN ('branch', 'warehouse')", name="type"),
        CheckConstraint("active OR NOT is_default", name="default_active"),
        Index("ix_locations_default", "tenant_id", unique=True, postgresql_where=text("is_default")),
        Index("ix_locations_reference_id", "tenant_id", "reference_id", unique=True),
        Index("ix_locations_page", "tenant_id", "created_at", "location_id"),
        Index(
            "ix_locations_search",
            text("array_to_tsvector(search_words)"),
            postgresql_using="gin",
            # Else each search would read what was written last, one by one.
            postgresql_with={"fastupdate": "off"},
        ),
        Index("ix_locations_unsearchable", "tenant_id", postgresql_where=text("search_words IS NULL")),
    )

    location_id: LocationId = Field(primary_key=True)
    tenant_id: TenantId = Field(foreign_key="tenants.tenant_id")
    version: BigInt
    type: Text
    name: Text
    reference_id: Text | None
    address: Json | None
    geo: Json | None
    timezone: Text
    active: bool
    is_default: bool
    livemode: bool
    search_words: TextArray | None = None
    """Words by which it is found (`identity.search_words`); None: to be filled in."""
    created_at: Instant
    updated_at: Instant
