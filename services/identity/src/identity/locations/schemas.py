"""Locations in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input

LocationType = Literal["branch", "warehouse"]


class LocationIn(Input):
    """A location to create."""

    type: LocationType = "branch"
    name: fields.Name = ApiField(examples=["Montréal"])
    reference_id: fields.ReferenceId | None = ApiField(None, description="Your own id of it, unique in the tenant.")
    address: fields.Address | None = None
    geo: fields.GeoPoint | None = None
    timezone: fields.Timezone | None = ApiField(None, description="Null: the tenant's.")


class LocationPatch(Input):
    """Fields of a location to change."""

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
