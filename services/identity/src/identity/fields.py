"""The kinds of values that clients send to identity, each with its limits, and those that several answers share."""

import re
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.access import permissions
from shared.api import Input

METADATA_KEYS_MAX = 50
PERMISSIONS_MAX = 100
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 128

_TIMEZONES = frozenset(available_timezones())
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


def _email(value: str) -> str:
    try:
        # `.test` is reserved for trials (RFC 2606), and trials are what a test tenant is for.
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "not an e-mail address: {reason}", {"reason": str(error)}) from error


def _timezone(value: str) -> str:
    if value not in _TIMEZONES:
        raise PydanticCustomError("timezone", "not an IANA time zone, such as America/Montreal")
    return value


def _phone(value: str) -> str:
    if not _E164.fullmatch(value):
        raise PydanticCustomError("phone", "not a phone number in E.164 form, such as +15145550100")
    return value


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

Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254, "examples": ["ada@example.com"]}),
]
Password = Annotated[
    SecretStr,
    Field(min_length=PASSWORD_LENGTH_MIN, max_length=PASSWORD_LENGTH_MAX, examples=["correct horse battery staple"]),
]
PasswordTry = Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
Timezone = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_timezone), Field(examples=["America/Montreal"])
]
Phone = Annotated[str, StringConstraints(max_length=16), AfterValidator(_phone), Field(examples=["+15145550100"])]
Country = Annotated[
    str, StringConstraints(pattern="^[A-Z]{2}$"), Field(description="ISO 3166-1, two letters.", examples=["CA"])
]
Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$"), Field(description="ISO 4217.", examples=["CAD"])]
Name = Annotated[str, StringConstraints(min_length=1, max_length=120)]
PersonName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
ReferenceId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
PermissionCode = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_permission), Field(examples=["orders"])
]
PermissionCodes = Annotated[list[PermissionCode], Field(max_length=PERMISSIONS_MAX)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40)],
        Annotated[str, StringConstraints(max_length=500)],
    ],
    Field(max_length=METADATA_KEYS_MAX, description="Up to 50 names of 40 characters, values of 500."),
]

LastUsedAt = Annotated[
    datetime | None,
    Field(
        description="The latest request for which any service accepted it, to within about a minute. A request that lacked a permission "
        "counts, one that was refused earlier (401, 402, tenant suspended, API access off) does not. Null while no use is known."
    ),
]

_Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Address(Input):
    """Where something is: one text, structured parts, or both."""

    raw: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, examples=["1 Rue X, Montréal"]
    )
    line1: _Line | None = None
    line2: _Line | None = None
    city: _Line | None = None
    region: _Line | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = None
    country: Country | None = None


class GeoPoint(Input):
    """A point on Earth (WGS 84), in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


def to_document(value: Address | GeoPoint | None) -> dict[str, Any] | None:
    """A place as its column keeps it."""
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


def address_of(kept: dict[str, Any] | None) -> Address | None:
    """The address that a column keeps."""
    return None if kept is None else Address.model_validate(kept)
