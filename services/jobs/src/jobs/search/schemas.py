"""Conditions of lists and searches, as query parameters or under the same names in a body."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from jobs import search_index
from jobs.fields import CalendarDate, EmailAddress, Metadata, PhoneNumber
from jobs.job_store import (
    ASSIGNEE_CHARS_MAX,
    COMPANY_CHARS_MAX,
    EMAIL_CHARS_MAX,
    NUMBER_CHARS_MAX,
    PHONE_CHARS_MAX,
    POSTAL_CODE_CHARS_MAX,
    REFERENCE_CHARS_MAX,
    ActionStatus,
    JobStatus,
    JobType,
    Tag,
)
from shared.api import Input
from shared.api.cursors import CURSOR_LENGTH_MAX, LIMIT_DEFAULT, LIMIT_MAX
from shared.errors import Violation
from shared.ids import JobId, LocationId, MerchantId
from shared.timestamps import Timestamp

FILTER_VALUES_MAX = 50
FREE_TEXT_CHARS_MAX = 200

JobSort = Literal["created_at", "-created_at", "updated_at", "-updated_at", "scheduled_date", "-scheduled_date"]
ActionSort = Literal["created_at", "-created_at", "updated_at", "-updated_at"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _require_boolean(value: object) -> object:
    # pydantic alone would take 1, "yes" and "on", too.
    if isinstance(value, bool) or value in ("true", "false"):
        return value
    raise PydanticCustomError("bool_form", "expected true or false")


def _require_words(text: str) -> str:
    asked = search_index.parse_free_text(text)
    if not asked:
        raise PydanticCustomError("no_word", "there is no word in it: give at least one letter or digit")
    if any(len(words) > search_index.FREE_TEXT_WORDS_MAX for words in asked):
        raise PydanticCustomError(
            "words_many", "at most {words_max} words", {"words_max": search_index.FREE_TEXT_WORDS_MAX}
        )
    return text


class Filters(Input):
    """What all lists are narrowed by; all conditions hold together, and several values of one name mean any of them."""

    merchant_id: MerchantId | None = Field(None, description="Of this merchant. Administrators only.")
    type: list[JobType] = Field([], max_length=FILTER_VALUES_MAX, description="Of any of these types.")
    created_gte: Timestamp | None = Field(None, description="Created at this instant or later.")
    created_lte: Timestamp | None = Field(None, description="Created at this instant or earlier.")
    updated_gte: Timestamp | None = Field(None, description="Last changed at this instant or later.")
    updated_lte: Timestamp | None = Field(None, description="Last changed at this instant or earlier.")
    q: str | None = Field(
        None,
        min_length=1,
        max_length=FREE_TEXT_CHARS_MAX,
        description="Free text, up to 10 words. Each has to be found: as a whole word of the texts, or, from 3 characters, "
        "as a part of a name or number. Case and accents do not matter; a phone number may be spelt in any way.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_said(cls, value: object) -> object:
        # No body check has seen what stands in a query, and a condition left blank is rather forgotten than meant.
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.strip():
                raise PydanticCustomError("blank", "a condition cannot be blank: leave it out")
            if isinstance(text, str) and _CONTROL.search(text):
                raise PydanticCustomError("control_character", "control characters are not allowed")
        return value

    @field_validator(
        "created_lte", "updated_lte", "scheduled_date_lte", "status_changed_lte", mode="after", check_fields=False
    )
    @classmethod
    def _ends_after_its_start(cls, end: Any, info: ValidationInfo) -> Any:
        start_name = str(info.field_name).replace("_lte", "_gte")
        start = info.data.get(start_name)
        if start is not None and end is not None and end < start:
            raise PydanticCustomError("range_order", "cannot be before {start}", {"start": start_name})
        return end

    @field_validator("q")
    @classmethod
    def _asks_something(cls, text: str | None) -> str | None:
        return None if text is None else _require_words(text)

    def violation(self, name: str, code: str, message: str) -> Violation:
        """What to say of this condition, which stands in a query."""
        return Violation("", code, message, parameter=name)


class JobFilters(Filters):
    """Which jobs a list shows, and in which order."""

    reference_id: str | None = Field(
        None, min_length=1, max_length=REFERENCE_CHARS_MAX, description="With exactly this reference."
    )
    status: list[JobStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    location_id: list[LocationId] = Field([], max_length=FILTER_VALUES_MAX, description="At any of these locations.")
    distribution_location_id: list[LocationId] = Field(
        [], max_length=FILTER_VALUES_MAX, description="With goods from any of these locations."
    )
    scheduled_date_gte: CalendarDate | None = Field(
        None, description="Scheduled for this day or later; jobs without a date are left out."
    )
    scheduled_date_lte: CalendarDate | None = Field(
        None, description="Scheduled for this day or earlier; jobs without a date are left out."
    )
    status_changed_gte: Timestamp | None = Field(None, description="In its status since this instant or later.")
    status_changed_lte: Timestamp | None = Field(None, description="In its status since this instant or earlier.")
    contact_name: str | None = Field(
        None,
        min_length=1,
        max_length=COMPANY_CHARS_MAX,
        description="The full name, the family name or the company begins so, whatever case and accents.",
    )
    phone: PhoneNumber = Field(
        None, max_length=PHONE_CHARS_MAX, description="With this phone number: country code included, spelt in any way."
    )
    email: EmailAddress = Field(
        None, max_length=EMAIL_CHARS_MAX, description="With this e-mail address, whatever its case."
    )
    postal_code: str | None = Field(
        None,
        min_length=1,
        max_length=POSTAL_CODE_CHARS_MAX,
        description="In this postal code; case and spaces do not matter.",
    )
    invoice: str | None = Field(
        None,
        min_length=1,
        max_length=NUMBER_CHARS_MAX,
        description="With this invoice number, its own or of one of its actions, whatever its case.",
    )
    barcode: str | None = Field(
        None,
        min_length=1,
        max_length=NUMBER_CHARS_MAX,
        description="With this barcode, its own or of one of its actions, whatever its case.",
    )
    tag: list[Tag] = Field(
        [], max_length=FILTER_VALUES_MAX, description="With all of these tags, whatever case and accents."
    )
    sku: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With an action of this SKU, whatever its case."
    )
    external_reference_id: str | None = Field(
        None,
        min_length=1,
        max_length=REFERENCE_CHARS_MAX,
        description="With an action of this external reference, whatever its case.",
    )
    assigned_to: str | None = Field(
        None, min_length=1, max_length=ASSIGNEE_CHARS_MAX, description="Assigned to them, whatever case and accents."
    )
    deleted: Annotated[bool, BeforeValidator(_require_boolean)] = Field(
        False, description="Deleted jobs instead of those that are not."
    )
    sort: JobSort = Field(
        "-created_at",
        description="Order; `-` means latest first. A job without a date counts as later than all that have one.",
    )

    @field_validator("contact_name")
    @classmethod
    def _has_letters(cls, name: str | None) -> str | None:
        if name is not None and not search_index.fold(name):
            raise PydanticCustomError("no_word", "there is no letter or digit in it")
        return name


class ActionFilters(Filters):
    """Which actions a list shows, and in which order."""

    job_id: JobId | None = Field(None, description="Of this job.")
    status: list[ActionStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    sku: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this SKU, whatever its case."
    )
    barcode: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this barcode, whatever its case."
    )
    invoice_number: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this invoice number, whatever its case."
    )
    external_reference_id: str | None = Field(
        None,
        min_length=1,
        max_length=REFERENCE_CHARS_MAX,
        description="With this external reference, whatever its case.",
    )
    sort: ActionSort = Field("-created_at", description="Order; `-` means latest first.")


class InQuery(Input):
    """Conditions that stand in a query, beside what asks for a page."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_paging(cls, given: Any) -> Any:
        # What asks for a page stands in the same query; any other unknown name is a misspelt filter and refused.
        return {name: value for name, value in given.items() if name not in ("limit", "cursor")}


class InBody(Input):
    """Conditions that stand in a body, with what asks for a page."""

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, strict=True, description="How many at most, 1 to 200.")
    cursor: str | None = Field(
        None, min_length=1, max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before."
    )

    def violation(self, name: str, code: str, message: str) -> Violation:
        """What to say of this condition, which stands in a body."""
        return Violation(f"/{name}", code, message)


class JobQuery(InQuery, JobFilters):
    """Which jobs a list shows, and in which order."""


class JobSearch(InBody, JobFilters):
    """Which jobs are looked for, in which order, and which page of them; all conditions hold together."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {"status": ["new", "in_progress"], "tag": ["fragile"], "metadata": {"shop": "7"}, "limit": 100},
                {"q": "Ada Sherbrooke", "scheduled_date_gte": "2030-01-31", "sort": "scheduled_date"},
            ]
        }
    }

    metadata: Metadata = Field({}, description="With all of these keys, each with exactly this text.")

    @field_validator("deleted", mode="before")
    @classmethod
    def _is_no_text(cls, value: object) -> object:
        if not isinstance(value, bool):
            raise PydanticCustomError("bool_type", "expected true or false")
        return value


class ActionQuery(InQuery, ActionFilters):
    """Which actions a list shows, and in which order."""


class ActionSearch(InBody, ActionFilters):
    """Which actions are looked for, in which order, and which page of them; all conditions hold together."""

    model_config = {"json_schema_extra": {"examples": [{"sku": "S-1", "status": ["damaged"], "limit": 100}]}}
