"""Phone numbers and e-mail addresses: any usual spelling is accepted, one form is stored."""

import re
from typing import Annotated

import email_validator
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult
from pydantic import AfterValidator, BeforeValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.fields.text import blank_is_null

PHONE_CHARS_MAX = 40
EMAIL_CHARS_MAX = 254
_LETTERS_BEHIND = re.compile(r"\d[^+]*[^\W\d_]{1,12}\W*\d+\W*")
_WITHOUT_EXTENSION = "a phone number is stored without an extension: leave it out"


def _phone(value: str) -> str:
    try:
        number = phonenumbers.parse(value, None)
    except NumberParseException as error:
        has_extension = value.lstrip().startswith("+") and _LETTERS_BEHIND.search(value)
        reason = _WITHOUT_EXTENSION if has_extension else "expected a phone number with its country code"
        raise _phone_refused(reason) from error
    if number.extension:
        raise _phone_refused(_WITHOUT_EXTENSION)
    # Possible, not valid: lists of assigned ranges age, and a refused job costs more than a number that nobody answers.
    match phonenumbers.is_possible_number_with_reason(number):
        case ValidationResult.IS_POSSIBLE:
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
        case ValidationResult.TOO_LONG:
            # The word for an extension can be in any language: its letters were taken for digits.
            if _LETTERS_BEHIND.search(value):
                raise _phone_refused(_WITHOUT_EXTENSION)
            raise _phone_refused("this phone number has too many digits for its country")
        case ValidationResult.TOO_SHORT | ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            raise _phone_refused("this phone number has too few digits for its country")
    raise _phone_refused("expected a phone number with its country code")


def _phone_refused(reason: str) -> PydanticCustomError:
    return PydanticCustomError("phone_number", "{reason}, such as +15145550100", {"reason": reason})


def _email(value: str) -> str:
    try:
        # The domain is not looked up, and `.test` is accepted (RFC 2606): whether mail arrives is not decided here.
        checked = email_validator.validate_email(value, check_deliverability=False, test_environment=True)
    except email_validator.EmailNotValidError as error:
        raise PydanticCustomError("email_address", "not an e-mail address: {reason}", {"reason": str(error)}) from error
    return checked.normalized


Phone = Annotated[
    str,
    StringConstraints(max_length=PHONE_CHARS_MAX),
    AfterValidator(_phone),
    WithJsonSchema({"type": "string", "maxLength": PHONE_CHARS_MAX, "examples": ["+15145550100"]}),
]
"""A phone number in any spelling with its country code; E.164 is stored."""
OptionalPhone = Annotated[Phone | None, BeforeValidator(blank_is_null)]
Email = Annotated[
    str,
    StringConstraints(max_length=EMAIL_CHARS_MAX),
    AfterValidator(_email),
    WithJsonSchema(
        {
            "type": "string",
            "format": "email",
            "maxLength": EMAIL_CHARS_MAX,
            "examples": ["ada@example.com"],
        }
    ),
]
"""An e-mail address; its domain is stored in lower case."""
OptionalEmail = Annotated[Email | None, BeforeValidator(blank_is_null)]
