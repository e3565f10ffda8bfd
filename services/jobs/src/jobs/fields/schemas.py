"""Types of values that only jobs takes."""

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _iso_date(value: object) -> object:
    # pydantic alone also accepts numbers (seconds since 1970) and instants at midnight.
    if value is None or isinstance(value, date) or (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        return value
    raise PydanticCustomError("date_form", "expected a date, YYYY-MM-DD")


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


CalendarDate = Annotated[date, BeforeValidator(_iso_date)]
OptionalCalendarDate = Annotated[date | None, BeforeValidator(_iso_date)]
EACH_ONCE = AfterValidator(_each_once)
"""Drops repeats from a list and keeps its order."""
