"""Places: country, time zone, address, point."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from shared.api import Input
from shared.fields.code_lists import COUNTRIES, time_zones
from shared.fields.merge_patch import member_schema
from shared.fields.numbers import Number
from shared.fields.text import OptionalText, blank_is_null

ADDRESS_CHARS_MAX = 500
ADDRESS_LINE_CHARS_MAX = 200
TOWN_CHARS_MAX = 100
POSTAL_CODE_CHARS_MAX = 20
ZONE_CHARS_MAX = 64


def _country(value: str) -> str:
    if value not in COUNTRIES:
        raise PydanticCustomError("country", "expected an ISO 3166-1 alpha-2 country in capitals, such as CA")
    return value


def _time_zone(value: str) -> str:
    if value not in time_zones():
        raise PydanticCustomError("time_zone", "expected an IANA time zone, such as America/Montreal")
    return value


Country = Annotated[
    str,
    StringConstraints(max_length=2),
    AfterValidator(_country),
    Field(description="ISO 3166-1 alpha-2, in capitals.", examples=["CA"]),
]
OptionalCountry = Annotated[Country | None, BeforeValidator(blank_is_null)]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=ZONE_CHARS_MAX),
    AfterValidator(_time_zone),
    Field(examples=["America/Montreal"]),
]
"""An IANA time zone."""
OptionalTimeZone = Annotated[TimeZone | None, BeforeValidator(blank_is_null)]


class AddressIn(Input):
    """An address: as one text (`raw`), or in parts with at least `line1`."""

    raw: OptionalText = Field(
        None, max_length=ADDRESS_CHARS_MAX, description="The address as one text.", examples=["1 Rue X, Montréal"]
    )
    line1: OptionalText = Field(
        None, max_length=ADDRESS_LINE_CHARS_MAX, validate_default=True, description="Number and street."
    )
    line2: OptionalText = Field(None, max_length=ADDRESS_LINE_CHARS_MAX, description="Floor, suite or entrance.")
    city: OptionalText = Field(None, max_length=TOWN_CHARS_MAX, description="City or town.")
    region: OptionalText = Field(None, max_length=TOWN_CHARS_MAX, description="Province, state or department.")
    postal_code: OptionalText = Field(None, max_length=POSTAL_CODE_CHARS_MAX, description="Postal code.")
    country: OptionalCountry = Field(None, description="ISO 3166-1 alpha-2, in capitals.")

    @field_validator("line1")
    @classmethod
    def _require_raw_or_line1(cls, line1: str | None, info: ValidationInfo) -> str | None:
        # A check of this field and not of the model, so that it is reported together with errors of other fields.
        if line1 is None and "raw" in info.data and info.data["raw"] is None:
            raise PydanticCustomError("address_empty", "expected raw, or line1 and the other parts")
        return line1


class GeoIn(Input):
    """A geographic point, WGS 84."""

    latitude: Number = Field(ge=-90, le=90, description="Degrees, -90 to 90.")
    longitude: Number = Field(ge=-180, le=180, description="Degrees, -180 to 180.")


ADDRESS: TypeAdapter[AddressIn] = TypeAdapter(AddressIn)
AddressPatch = Annotated[dict[str, Any], member_schema(AddressIn)]
"""Parts of an address to change."""
GEO: TypeAdapter[GeoIn] = TypeAdapter(GeoIn)
GeoPatch = Annotated[dict[str, Any], member_schema(GeoIn)]
"""Parts of a point to change."""
