"""Numbers and flags: JSON's own types, never text that looks like one."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError, PydanticKnownError


def require_whole_number(value: object) -> object:
    """The number as an int; None as it is. Raises a violation (`int_type`) for everything else.

    JSON has one kind of number: 1.0 is an integer (JSON Schema), and "1" or true is none.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise PydanticKnownError("int_type")


def _require_query_flag(value: object) -> object:
    # pydantic alone also accepts 1, "yes" and "on".
    if isinstance(value, bool) or value in ("true", "false"):
        return value
    raise PydanticCustomError("bool_form", "expected true or false")


Integer = Annotated[int, BeforeValidator(require_whole_number)]
"""A whole number: 1 or 1.0, never "1" or true. A field adds its limits."""
OptionalInteger = Annotated[int | None, BeforeValidator(require_whole_number)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number: never text or true. A field adds its limits."""
Flag = Annotated[bool, Field(strict=True)]
"""true or false: never "yes" or 1."""
QueryFlag = Annotated[bool, BeforeValidator(_require_query_flag)]
"""The words `true` and `false` in a query."""
