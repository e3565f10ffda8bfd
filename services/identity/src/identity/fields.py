"""Types of values that only identity takes, and those that several of its answers share."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from shared.access import permissions
from shared.fields.places import AddressIn, GeoIn

PERMISSIONS_MAX = 100
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 128


def _permission(value: str) -> str:
    if permissions.unknown([value]):
        raise PydanticCustomError("permission_unknown", "{code} is not a permission of the catalogue", {"code": value})
    return value


def _not_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("null", "this cannot be null; leave it out to keep it as it is")
    return value


KEPT_IF_ABSENT = BeforeValidator(_not_null)
"""In a patch: an absent field is kept, and null is refused because the field always has a value."""

Password = Annotated[
    SecretStr,
    Field(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX, examples=["correct horse battery staple"]),
]
PasswordTry = Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
PermissionCode = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_permission), Field(examples=["orders"])
]
PermissionCodes = Annotated[list[PermissionCode], Field(max_length=PERMISSIONS_MAX)]

LastUsedAt = Annotated[
    datetime | None,
    Field(
        description="The latest request for which any service accepted it, to within about a minute. A request that lacked a permission "
        "counts, one that was refused earlier (401, 402, tenant suspended, API access off) does not. Null while no use is known."
    ),
]


class Address(BaseModel):
    """An address: as one text, in parts, or both."""

    raw: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = Field(None, description="ISO 3166-1 alpha-2.")


class GeoPoint(BaseModel):
    """A geographic point, WGS 84."""

    latitude: float = Field(description="Degrees.")
    longitude: float = Field(description="Degrees.")


def to_document(value: AddressIn | GeoIn | None) -> dict[str, Any] | None:
    """A place as its column stores it."""
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


def address_of(stored: dict[str, Any] | None) -> Address | None:
    """The address that a column stores."""
    return None if stored is None else Address.model_validate(stored)
