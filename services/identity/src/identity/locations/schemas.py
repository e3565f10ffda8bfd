"""Locations in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input
from shared.fields.merge_patch import Patch
from shared.fields.places import AddressIn, AddressPatch, GeoIn, GeoPatch, OptionalTimeZone, TimeZone
from shared.fields.text import Name, OptionalReferenceId

BY_WORDS = "Only where each of these words begins a word of name or reference."
LocationType = Literal["branch", "warehouse"]


class LocationIn(Input):
    """A location to create."""

    type: LocationType = "branch"
    name: Name = ApiField(examples=["Montréal"])
    reference_id: OptionalReferenceId = ApiField(None, description="Your own id of it, unique in the tenant.")
    address: AddressIn | None = None
    geo: GeoIn | None = None
    timezone: OptionalTimeZone = ApiField(None, description="Null: the tenant's.")


class LocationPatch(Patch):
    """Fields of a location to change."""

    type: Annotated[LocationType | None, fields.KEPT_IF_ABSENT] = None
    name: Annotated[Name | None, fields.KEPT_IF_ABSENT] = None
    reference_id: OptionalReferenceId = None
    address: AddressPatch | None = None
    geo: GeoPatch | None = None
    timezone: Annotated[TimeZone | None, fields.KEPT_IF_ABSENT] = None


class Location(BaseModel):
    """A branch or warehouse."""

    object: Literal["location"] = "location"
    id: str
    tenant_id: str
    type: LocationType
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
