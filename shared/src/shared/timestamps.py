"""Timestamps in requests: RFC 3339 with an offset, converted to UTC."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _require_rfc_3339(value: object) -> object:
    # Without this, a number or a text of digits would be read as seconds since 1970.
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError(
        "instant_form", "expected an RFC 3339 instant with its offset, such as 2030-01-31T09:00:00Z"
    )


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("instant_range", "this instant cannot be expressed in UTC") from error


Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_require_rfc_3339),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2030-01-31T09:00:00Z"]}),
]
"""The type of every timestamp in bodies and queries."""
