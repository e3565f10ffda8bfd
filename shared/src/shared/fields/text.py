"""Text: blank text, names and reference ids, and text in a query."""

import re
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

NAME_CHARS_MAX = 200
PERSON_NAME_CHARS_MAX = 100
REFERENCE_CHARS_MAX = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def blank_is_null(value: object) -> object:
    """None for text without a visible character; everything else as it is."""
    return None if isinstance(value, str) and not value.strip() else value


def refuse_control_characters(value: object) -> object:
    """The value itself. Raises a violation (`control_character`) for text with a control character, a tab or line break included."""
    if isinstance(value, str) and _CONTROL.search(value):
        raise PydanticCustomError("control_character", "control characters are not allowed")
    return value


OptionalText = Annotated[str | None, BeforeValidator(blank_is_null)]
"""Text that may be left out; blank text counts as null. A field adds its `max_length`."""
RequiredText = Annotated[str, StringConstraints(min_length=1)]
"""Text that cannot be blank. A field adds its `max_length`."""
QueryText = Annotated[str | None, BeforeValidator(refuse_control_characters)]
"""Text in a query: no check of a body has seen it."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX)]
"""Name of a business, a place or a key."""
OptionalName = Annotated[
    Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
PersonName = Annotated[str, StringConstraints(min_length=1, max_length=PERSON_NAME_CHARS_MAX)]
"""Given name or family name."""
OptionalPersonName = Annotated[
    Annotated[str, StringConstraints(max_length=PERSON_NAME_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
ReferenceId = Annotated[str, StringConstraints(min_length=1, max_length=REFERENCE_CHARS_MAX)]
"""A client's own id of a record."""
OptionalReferenceId = Annotated[
    Annotated[str, StringConstraints(max_length=REFERENCE_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
