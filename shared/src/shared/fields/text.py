"""Text: blank text, names and reference ids, and text in a query."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError, PydanticKnownError

NAME_CHARS_MAX = 200
PERSON_NAME_CHARS_MAX = 100
REFERENCE_CHARS_MAX = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


# Categories of characters that nobody sees: control, format, separators. And letters and marks that have no form.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_UNSEEN = re.compile("[\u034f\u115f\u1160\u2800\u3164\ufe00-\ufe0f\uffa0]")


def is_blank(text: str) -> bool:
    """Whether a text has no visible character."""
    if text.isascii():
        return not text.strip()
    return all(unicodedata.category(one) in _UNSEEN_CATEGORIES or _UNSEEN.match(one) for one in text)


def without_format_characters(text: str) -> str:
    """The text without invisible marks (Unicode's category Cf), as it is compared with others."""
    return text if text.isascii() else "".join(one for one in text if unicodedata.category(one) != "Cf")


def blank_is_null(value: object) -> object:
    """None for text without a visible character; everything else as it is."""
    return None if isinstance(value, str) and is_blank(value) else value


def _require_visible(text: str) -> str:
    if is_blank(text):
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return text


def _refuse_direction_marks(text: str) -> str:
    if not text.isascii() and _DIRECTION.search(text):
        raise PydanticCustomError(
            "direction_mark", "marks that change the direction of text are not allowed: a name could read like another"
        )
    return text


def refuse_control_characters(value: object) -> object:
    """The value itself. Raises a violation (`control_character`) for text with a control character, a tab or line break included."""
    if isinstance(value, str) and _CONTROL.search(value):
        raise PydanticCustomError("control_character", "control characters are not allowed")
    return value


OptionalText = Annotated[str | None, BeforeValidator(blank_is_null)]
"""Text that may be left out; blank text counts as null. A field adds its `max_length`."""
RequiredText = Annotated[str, StringConstraints(min_length=1), AfterValidator(_require_visible)]
"""Text that cannot be blank. A field adds its `max_length`."""
QueryText = Annotated[str | None, BeforeValidator(refuse_control_characters)]
"""Text in a query: no check of a body has seen it."""

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_CHARS_MAX),
    AfterValidator(_require_visible),
    AfterValidator(_refuse_direction_marks),
]
"""Name of a business, a place or a key, as it is shown to others: it reads as it is written."""
OptionalName = Annotated[
    Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
PersonName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PERSON_NAME_CHARS_MAX),
    AfterValidator(_require_visible),
    AfterValidator(_refuse_direction_marks),
]
"""Given name or family name of somebody who has an account."""
OptionalPersonName = Annotated[
    Annotated[str, StringConstraints(max_length=PERSON_NAME_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
ReferenceId = Annotated[
    str, StringConstraints(min_length=1, max_length=REFERENCE_CHARS_MAX), AfterValidator(_require_visible)
]
"""A client's own id of a record."""
OptionalReferenceId = Annotated[
    Annotated[str, StringConstraints(max_length=REFERENCE_CHARS_MAX)] | None, BeforeValidator(blank_is_null)
]
