"""Locations: the table and the API's shapes."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from identity.models import fields, registry
from shared.api import Input

LocationType = Literal["branch", "warehouse"]


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


class LocationIn(Input):
    """What makes a location."""

    type: LocationType = "branch"
    name: fields.Name = ApiField(examples=["Montréal"])
    reference_id: fields.ReferenceId | None = ApiField(None, description="Your own name for it, unique in the tenant.")
    address: fields.Address | None = None
    geo: fields.GeoPoint | None = None
    timezone: fields.Timezone | None = ApiField(None, description="Null: the tenant's.")


class LocationPatch(Input):
    """What can change about a location."""

    type: Annotated[LocationType | None, fields.KEPT_IF_ABSENT] = None
    name: Annotated[fields.Name | None, fields.KEPT_IF_ABSENT] = None
    reference_id: fields.ReferenceId | None = None
    address: fields.Address | None = None
    geo: fields.GeoPoint | None = None
    timezone: Annotated[fields.Timezone | None, fields.KEPT_IF_ABSENT] = None


class Location(BaseModel):
    """A branch or warehouse."""

    object: Literal["location"] = "location"
    id: str
    tenant_id: str
    type: str
    name: str
    reference_id: str | None
    address: fields.Address | None
    geo: fields.GeoPoint | None
    timezone: str
    active: bool
    is_default: bool
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int
