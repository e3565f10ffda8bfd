"""Field types that need more than a Python type: what is accepted, and the one form in which it is stored."""

import re
import zoneinfo
from datetime import date
from functools import cache
from typing import Annotated

import email_validator
import phonenumbers
from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from jobs.fields.rules import COUNTRIES, CURRENCIES

METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_ZONES = frozenset({"Factory", "localtime", "posixrules"})


@cache
def time_zones() -> frozenset[str]:
    """The IANA time zones that this machine knows."""
    return frozenset(zoneinfo.available_timezones() - _NOT_ZONES)


def _blank_is_null(value: str | None) -> str | None:
    return value or None


def _phone(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException as error:
        raise _phone_refused() from error
    # Possible, not valid: lists of assigned ranges age, and a refused job costs more than a number that nobody answers.
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not possible or number.extension:
        raise _phone_refused()
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _phone_refused() -> PydanticCustomError:
    return PydanticCustomError("phone_number", "expected a phone number with its country code, such as +15145550100")


def _email(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        # No look-up of the domain, and `.test` is fine: whether mail arrives is not decided here.
        checked = email_validator.validate_email(value, check_deliverability=False, test_environment=True)
    except email_validator.EmailNotValidError as error:
        raise PydanticCustomError("email_address", "not an e-mail address: {reason}", {"reason": str(error)}) from error
    return checked.normalized


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "expected an ISO 4217 currency in capitals, such as CAD")
    return value


def _country(value: str | None) -> str | None:
    if value is not None and value not in COUNTRIES:
        raise PydanticCustomError("country", "expected an ISO 3166-1 alpha-2 country in capitals, such as CA")
    return value


def _time_zone(value: str | None) -> str | None:
    if value is not None and value not in time_zones():
        raise PydanticCustomError("time_zone", "expected an IANA time zone, such as America/Montreal")
    return value


def _iso_date(value: object) -> object:
    # pydantic alone would take numbers (seconds since 1970) and instants at midnight for dates.
    if value is None or isinstance(value, date) or (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        return value
    raise PydanticCustomError("date_form", "expected a date, YYYY-MM-DD")


def _no_control_characters(value: str | None) -> str | None:
    if value is not None and _CONTROL.search(value):
        raise PydanticCustomError("control_character", "control characters are not allowed")
    return value


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise PydanticCustomError("metadata_type", "expected an object whose values are strings")
    if len(value) > METADATA_KEYS_MAX:
        raise PydanticCustomError("metadata_keys", "at most {keys_max} keys", {"keys_max": METADATA_KEYS_MAX})
    refused = [
        InitErrorDetails(type=problem, loc=(key,), input=None)
        for key, text in value.items()
        if (problem := _metadata_problem(key, text)) is not None
    ]
    if refused:
        raise ValidationError.from_exception_data("metadata", refused)
    return value


def _metadata_problem(key: str, text: object) -> PydanticCustomError | None:
    if not key.strip() or len(key) > METADATA_KEY_CHARS_MAX:
        return PydanticCustomError("metadata_key", "a key has 1 to {max} characters", {"max": METADATA_KEY_CHARS_MAX})
    if not isinstance(text, str):
        return PydanticCustomError("metadata_value", "expected a string")
    if len(text) > METADATA_VALUE_CHARS_MAX:
        return PydanticCustomError("metadata_value", "at most {max} characters", {"max": METADATA_VALUE_CHARS_MAX})
    return None


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


OptionalText = Annotated[str | None, AfterValidator(_blank_is_null)]
"""Text that may be left out; blank text is the same as none."""
PhoneNumber = Annotated[OptionalText, AfterValidator(_phone)]
"""Any common spelling with a country code; kept in E.164."""
EmailAddress = Annotated[OptionalText, AfterValidator(_email)]
Currency = Annotated[str, AfterValidator(_currency)]
Country = Annotated[OptionalText, AfterValidator(_country)]
TimeZone = Annotated[OptionalText, AfterValidator(_time_zone)]
CalendarDate = Annotated[date, BeforeValidator(_iso_date)]
QueryText = Annotated[str | None, AfterValidator(_no_control_characters)]
"""Text in a query, which no body check has seen."""
EACH_ONCE = AfterValidator(_each_once)
"""Drops repeats from a list and keeps its order."""
Metadata = Annotated[
    dict[str, str],
    PlainValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": METADATA_KEYS_MAX,
            "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_CHARS_MAX},
            "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_CHARS_MAX},
        }
    ),
]
