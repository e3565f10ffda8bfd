"""Metadata: keys and texts of a client's own, stored exactly as they were sent."""

from typing import Annotated

from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise PydanticCustomError("metadata_type", "expected an object whose values are strings")
    if len(value) > METADATA_KEYS_MAX:
        raise PydanticCustomError("metadata_keys", "at most {keys_max} keys", {"keys_max": METADATA_KEYS_MAX})
    refused = [
        InitErrorDetails(type=problem, loc=(key,), input=None)
        for key, text in value.items()
        if (problem := _problem(key, text)) is not None
    ]
    if refused:
        raise ValidationError.from_exception_data("metadata", refused)
    return value


def _problem(key: str, text: object) -> PydanticCustomError | None:
    if not key.strip() or len(key) > METADATA_KEY_CHARS_MAX:
        return PydanticCustomError("metadata_key", "a key has 1 to {max} characters", {"max": METADATA_KEY_CHARS_MAX})
    if not isinstance(text, str):
        return PydanticCustomError("metadata_value", "expected a string")
    if len(text) > METADATA_VALUE_CHARS_MAX:
        return PydanticCustomError("metadata_value", "at most {max} characters", {"max": METADATA_VALUE_CHARS_MAX})
    return None


Metadata = Annotated[
    dict[str, str],
    PlainValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "description": "Up to 50 keys of 40 characters, each with up to 500 characters of text.",
            "maxProperties": METADATA_KEYS_MAX,
            "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_CHARS_MAX},
            "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_CHARS_MAX},
        }
    ),
]
"""Up to 50 keys of 40 characters, each with up to 500 characters of text."""
