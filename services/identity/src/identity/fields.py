"""Types of values that only identity takes, and those that several of its answers share."""

import unicodedata
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import regex
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from shared.access import permissions
from shared.fields.contact import Email
from shared.fields.places import AddressIn, GeoIn
from shared.fields.text import blank_is_null, refuse_control_characters

PERMISSIONS_MAX = 100
SEARCH_CHARS_MAX = 100
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 128
PASSWORD_CHARACTERS_MIN = 3
"""Different characters of a password: fewer are a repetition."""
CODE_CHARS_MAX = 40
LOCAL_PART_CHARS_MAX = 64
"""RFC 5321, 4.5.3.1.1."""
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
_WRITTEN_TOGETHER = ("Latin Han Hiragana Katakana", "Latin Han Bopomofo", "Latin Han Hangul")
"""Japanese, Chinese, Korean."""
_WRITTEN_ALONE = (
    "Cyrillic Greek Armenian Georgian Hebrew Arabic Thaana Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam "
    "Sinhala Thai Lao Tibetan Myanmar Khmer Ethiopic"
)
"""Scripts of living languages (UAX 31)."""
_SCRIPTS = tuple(
    regex.compile("[" + "".join(rf"\p{{scx={script}}}" for script in f"{scripts} Common Inherited".split()) + "]+")
    for scripts in (*_WRITTEN_TOGETHER, *_WRITTEN_ALONE.split())
)
_ROWS = (
    "012345678901234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
)


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


def _login_email(value: str) -> str:
    """An address by which people know one another: it must not look like that of somebody else (UTS 39)."""
    local, _, domain = value.rpartition("@")
    if len(local) > LOCAL_PART_CHARS_MAX:
        raise _email_refused(f"the part before @ has at most {LOCAL_PART_CHARS_MAX} characters")
    if value.isascii():
        return value
    if _INVISIBLE.search(value):
        raise _email_refused("it has characters that nobody sees")
    if unicodedata.normalize("NFKC", value) != value:
        raise _email_refused("it has characters that look like others")
    # Each label of the domain may have a script of its own, as in пример.com.
    for part in (local, *domain.split(".")):
        if not part.isascii() and not any(scripts.fullmatch(part) for scripts in _SCRIPTS):
            raise _email_refused("letters of several scripts are mixed")
    return value


def _email_refused(reason: str) -> PydanticCustomError:
    return PydanticCustomError("email_address", "this e-mail address is not accepted: {reason}", {"reason": reason})


def _password_try(value: object, length_min: int = 1) -> SecretStr:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    length = len(unicodedata.normalize("NFC", value))
    if length < length_min:
        raise PydanticKnownError("string_too_short", {"min_length": length_min})
    if length > PASSWORD_LENGTH_MAX:
        raise PydanticKnownError("string_too_long", {"max_length": PASSWORD_LENGTH_MAX})
    return SecretStr(value)


def _password(value: object) -> SecretStr:
    password = _password_try(value, PASSWORD_LENGTH_MIN)
    if _is_common(unicodedata.normalize("NFKC", password.get_secret_value()).casefold().strip()):
        raise PydanticCustomError("password_common", "many people have such a password: choose another one")
    return password


def _is_common(text: str) -> bool:
    """Whether a password is in the list of common ones, a repetition, or a row of digits, of the alphabet or of a keyboard."""
    return (
        text in _common_passwords()
        or len(set(text)) < PASSWORD_CHARACTERS_MIN
        or any(text in row or text[::-1] in row for row in _ROWS)
    )


@cache
def _common_passwords() -> frozenset[str]:
    lines = files("identity").joinpath("common_passwords.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))


def _password_schema(length_min: int, **more: Any) -> WithJsonSchema:
    limits = {"minLength": length_min, "maxLength": PASSWORD_LENGTH_MAX}
    return WithJsonSchema({"type": "string", "format": "password", "writeOnly": True, **limits, **more})


LoginEmail = Annotated[Email, AfterValidator(_login_email)]
"""The address with which somebody logs in."""
Password = Annotated[
    SecretStr,
    PlainValidator(_password),
    _password_schema(PASSWORD_LENGTH_MIN, examples=["correct horse battery staple"]),
]
"""A new password, with its blanks; none that many people have (NIST SP 800-63B)."""
PasswordTry = Annotated[SecretStr, PlainValidator(_password_try), _password_schema(1)]
"""A password to check, exactly as it was typed."""
PasswordAgain = Annotated[
    PasswordTry | None,
    Field(description="The password, given again here. A session that is stepped up needs none."),
]
"""A password in place of a step-up."""
Code = Annotated[
    str,
    StringConstraints(min_length=1, max_length=CODE_CHARS_MAX),
    Field(description="Six digits of the authenticator app, or a recovery code.", examples=["492039"]),
]
"""A code of a second factor."""
OptionalCode = Annotated[
    Code | None,
    Field(description="A code of your second factor, if you have one: of the authenticator app, or a recovery code."),
]
PermissionCode = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_permission), Field(examples=["orders"])
]
PermissionCodes = Annotated[list[PermissionCode], Field(max_length=PERMISSIONS_MAX)]


def _searched(value: object) -> object:
    return blank_is_null(refuse_control_characters(value))


SearchText = Annotated[
    Annotated[str, StringConstraints(max_length=SEARCH_CHARS_MAX)] | None, BeforeValidator(_searched)
]
"""What a list is searched for: each word must begin a word of the record. Blank: everything."""

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
