"""The conditions of lists and searches: query parameters, or members of the same names in a body."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jobs import search_index
from jobs.fields import CalendarDate
from jobs.job_store import (
    ASSIGNEE_CHARS_MAX,
    NUMBER_CHARS_MAX,
    ActionStatus,
    JobStatus,
    JobType,
    Tag,
)
from shared.api import Input, ListQuery
from shared.api.cursors import CURSOR_LENGTH_MAX, LIMIT_DEFAULT, LIMIT_MAX
from shared.errors import Violation
from shared.fields.contact import OptionalEmail, OptionalPhone
from shared.fields.metadata import Metadata
from shared.fields.numbers import Integer, QueryFlag
from shared.fields.places import POSTAL_CODE_CHARS_MAX
from shared.fields.text import NAME_CHARS_MAX, REFERENCE_CHARS_MAX, refuse_control_characters
from shared.ids import JobId, LocationId, MerchantId
from shared.timestamps import Timestamp

FILTER_VALUES_MAX = 50
"""Values of one condition."""
FREE_TEXT_CHARS_MAX = 200

JobSort = Literal["created_at", "-created_at", "updated_at", "-updated_at", "scheduled_date", "-scheduled_date"]
ActionSort = Literal["created_at", "-created_at", "updated_at", "-updated_at"]


def _require_words(text: str) -> str:
    requested = search_index.parse_free_text(text)
    if not requested:
        raise PydanticCustomError("no_word", "expected at least one letter or digit")
    if any(len(words) > search_index.FREE_TEXT_WORDS_MAX for words in requested):
        raise PydanticCustomError(
            "words_many", "at most {words_max} words", {"words_max": search_index.FREE_TEXT_WORDS_MAX}
        )
    return text


class Filters(Input):
    """Conditions of all lists. A row must match all of them; several values of one condition mean any of them."""

    merchant_id: MerchantId | None = Field(None, description="Rows of this merchant. Administrators only.")
    type: list[JobType] = Field([], max_length=FILTER_VALUES_MAX, description="With any of these types.")
    created_gte: Timestamp | None = Field(None, description="Created at this instant or later.")
    created_lte: Timestamp | None = Field(None, description="Created at this instant or earlier.")
    updated_gte: Timestamp | None = Field(None, description="Last changed at this instant or later.")
    updated_lte: Timestamp | None = Field(None, description="Last changed at this instant or earlier.")
    q: str | None = Field(
        None,
        min_length=1,
        max_length=FREE_TEXT_CHARS_MAX,
        description="Free text, up to 10 words. Every word must be found: as a whole word of the texts or, from 3 characters on, "
        "as a part of a name or number. Case and accents do not matter; a phone number can have any format.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _require_text(cls, value: object) -> object:
        # The checks of bodies do not see query parameters. A blank condition is probably a mistake of the client.
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.strip():
                raise PydanticCustomError("blank", "a condition cannot be blank: omit it")
            refuse_control_characters(text)
        return value

    @field_validator(
        "created_lte", "updated_lte", "scheduled_date_lte", "status_changed_lte", mode="after", check_fields=False
    )
    @classmethod
    def _require_ordered_range(cls, end: Any, info: ValidationInfo) -> Any:
        start_name = str(info.field_name).replace("_lte", "_gte")
        start = info.data.get(start_name)
        if start is not None and end is not None and end < start:
            raise PydanticCustomError("range_order", "must not be before {start}", {"start": start_name})
        return end

    @field_validator("q")
    @classmethod
    def _require_words_in_text(cls, text: str | None) -> str | None:
        return None if text is None else _require_words(text)

    def violation(self, name: str, code: str, message: str) -> Violation:
        """A violation of this query parameter."""
        return Violation("", code, message, parameter=name)


class JobFilters(Filters):
    """Which jobs a list contains, and in which order."""

    reference_id: str | None = Field(
        None, min_length=1, max_length=REFERENCE_CHARS_MAX, description="With exactly this reference."
    )
    status: list[JobStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    location_id: list[LocationId] = Field([], max_length=FILTER_VALUES_MAX, description="At any of these locations.")
    distribution_location_id: list[LocationId] = Field(
        [], max_length=FILTER_VALUES_MAX, description="With any of these distribution locations."
    )
    scheduled_date_gte: CalendarDate | None = Field(
        None, description="Scheduled for this day or later; jobs without a date do not match."
    )
    scheduled_date_lte: CalendarDate | None = Field(
        None, description="Scheduled for this day or earlier; jobs without a date do not match."
    )
    status_changed_gte: Timestamp | None = Field(None, description="In its status since this instant or later.")
    status_changed_lte: Timestamp | None = Field(None, description="In its status since this instant or earlier.")
    contact_name: str | None = Field(
        None,
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="The full name, the family name or the company begins with this text; case and accents do not matter.",
    )
    phone: OptionalPhone = Field(None, description="With this phone number, with its country code, in any format.")
    email: OptionalEmail = Field(None, description="With this e-mail address; case does not matter.")
    postal_code: str | None = Field(
        None,
        min_length=1,
        max_length=POSTAL_CODE_CHARS_MAX,
        description="With this postal code; case and spaces do not matter.",
    )
    invoice: str | None = Field(
        None,
        min_length=1,
        max_length=NUMBER_CHARS_MAX,
        description="With this invoice number, of the job or of one of its actions; case does not matter.",
    )
    barcode: str | None = Field(
        None,
        min_length=1,
        max_length=NUMBER_CHARS_MAX,
        description="With this barcode, of the job or of one of its actions; case does not matter.",
    )
    tag: list[Tag] = Field(
        [], max_length=FILTER_VALUES_MAX, description="With all of these tags; case and accents do not matter."
    )
    sku: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With an action of this SKU; case does not matter."
    )
    external_reference_id: str | None = Field(
        None,
        min_length=1,
        max_length=REFERENCE_CHARS_MAX,
        description="With an action of this external reference; case does not matter.",
    )
    assigned_to: str | None = Field(
        None,
        min_length=1,
        max_length=ASSIGNEE_CHARS_MAX,
        description="Assigned to this name or number; case and accents do not matter.",
    )
    deleted: QueryFlag = Field(False, description="True: deleted jobs. False: all others.")
    sort: JobSort = Field(
        "-created_at",
        description="Order; `-` means latest first. Jobs without a scheduled date are after all others.",
    )

    @field_validator("contact_name")
    @classmethod
    def _has_letters(cls, name: str | None) -> str | None:
        if name is not None and not search_index.fold(name):
            raise PydanticCustomError("no_word", "expected at least one letter or digit")
        return name


class ActionFilters(Filters):
    """Which actions a list contains, and in which order."""

    job_id: JobId | None = Field(None, description="Actions of this job.")
    status: list[ActionStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    sku: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this SKU; case does not matter."
    )
    barcode: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this barcode; case does not matter."
    )
    invoice_number: str | None = Field(
        None, min_length=1, max_length=NUMBER_CHARS_MAX, description="With this invoice number; case does not matter."
    )
    external_reference_id: str | None = Field(
        None,
        min_length=1,
        max_length=REFERENCE_CHARS_MAX,
        description="With this external reference; case does not matter.",
    )
    sort: ActionSort = Field("-created_at", description="Order; `-` means latest first.")


class InBody(Input):
    """Conditions in a body, with `limit` and `cursor`."""

    limit: Integer = Field(
        LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="Largest number of rows of the page, 1 to 200."
    )
    cursor: str | None = Field(
        None, min_length=1, max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the previous page."
    )

    def violation(self, name: str, code: str, message: str) -> Violation:
        """A violation of this member of the body."""
        return Violation(f"/{name}", code, message)


class JobQuery(ListQuery, JobFilters):
    """Which jobs a list contains, and in which order."""


class JobSearch(InBody, JobFilters):
    """Which jobs are searched, in which order, and which page of them. A job must match all conditions."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {"status": ["new", "in_progress"], "tag": ["fragile"], "metadata": {"shop": "7"}, "limit": 100},
                {"q": "Ada Sherbrooke", "scheduled_date_gte": "2030-01-31", "sort": "scheduled_date"},
            ]
        }
    }

    metadata: Metadata = Field({}, description="With all of these keys, each with exactly this value.")

    @field_validator("deleted", mode="before")
    @classmethod
    def _require_json_boolean(cls, value: object) -> object:
        if not isinstance(value, bool):
            raise PydanticCustomError("bool_type", "expected true or false")
        return value


class ActionQuery(ListQuery, ActionFilters):
    """Which actions a list contains, and in which order."""


class ActionSearch(InBody, ActionFilters):
    """Which actions are searched, in which order, and which page of them. An action must match all conditions."""

    model_config = {"json_schema_extra": {"examples": [{"sku": "S-1", "status": ["damaged"], "limit": 100}]}}
