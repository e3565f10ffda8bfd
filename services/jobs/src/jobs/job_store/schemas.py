"""The body that creates a job with its actions, and the job as the API shows it."""

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    computed_field,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from jobs.fields import EACH_ONCE, OptionalCalendarDate
from jobs.job_store.rules import STOP_TYPES, ActionStatus, JobStatus, JobType, window_instants
from shared.api import Input
from shared.events.jobs import ActionState, JobState
from shared.fields.contact import OptionalEmail, OptionalPhone
from shared.fields.metadata import Metadata
from shared.fields.money import Currency
from shared.fields.numbers import Integer, OptionalInteger
from shared.fields.places import AddressIn, GeoIn, OptionalTimeZone
from shared.fields.text import OptionalName, OptionalPersonName, OptionalReferenceId, OptionalText
from shared.ids import LocationId, MerchantId

SHORT_DESCRIPTION_CHARS_MAX = 255
INSTRUCTIONS_CHARS_MAX = 5_000
NUMBER_CHARS_MAX = 100
"""Length of an invoice number, a barcode or a SKU."""
INVOICES_MAX = 100
BARCODES_MAX = 200
TAG_CHARS_MAX = 50
TAGS_MAX = 50
DESCRIPTION_CHARS_MAX = 1_000
UNIT_CHARS_MAX = 20
QUANTITY_MAX = 1_000_000
POSITION_MAX = 10_000
PRIORITY_MAX = 100
PIECES_MAX = 1_000_000
WEIGHT_GRAMS_MAX = 10**9
VOLUME_CUBIC_CM_MAX = 10**12
HANDLING_SECONDS_MAX = 7 * 24 * 3600
AMOUNT_MAX = 10**12
SCHEDULED_MAX = date(9000, 12, 31)
"""Latest scheduled date. Lists show jobs without a date after all dates."""
ACTIONS_INLINE_MAX = 200
"""Actions that are created with a job."""
ASSIGNEE_CHARS_MAX = 200

STOP_MISPLACED = PydanticCustomError("stop_misplaced", "only a pickup, return or exchange has a stop of its own")

_START = re.compile(r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
_END = re.compile(r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")


def _matching(form: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not form.match(value) or value.endswith("\n"):
            raise PydanticCustomError("string_pattern_mismatch", "expected {expected}", {"expected": expected})
        return value

    return AfterValidator(check)


WindowStart = Annotated[
    str,
    _matching(_START, "HH:MM, 00:00 to 23:59, such as 08:00"),
    WithJsonSchema({"type": "string", "pattern": _START.pattern}),
]
WindowEnd = Annotated[
    str,
    _matching(_END, "HH:MM, 00:00 to 24:00, such as 17:30"),
    WithJsonSchema({"type": "string", "pattern": _END.pattern}),
]
Number = Annotated[str, StringConstraints(min_length=1, max_length=NUMBER_CHARS_MAX)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=TAG_CHARS_MAX)]


class ScheduledWindow(BaseModel):
    """When a job's time window begins and ends on its scheduled date.

    A local time that clocks show twice in a night, or leave out, counts as the earlier one for the start and as the later one for the end.
    """

    starts_at: datetime
    ends_at: datetime


class Action(ActionState):
    """A unit of work inside a job."""

    object: Literal["action"] = "action"
    type: JobType
    status: ActionStatus


class Job(JobState):
    """Work that a merchant ordered, with its actions."""

    object: Literal["job"] = "job"
    status: JobStatus
    type: JobType
    actions: list[Action] = []  # type: ignore[assignment]  # the same, with what OpenAPI names
    allowed_transitions: list[JobStatus] = Field(description="Statuses to which a command can move the job now.")

    @computed_field(  # type: ignore[prop-decorator]
        description="Its time window as instants, if it has one and a scheduled date."
    )
    @property
    def scheduled_window(self) -> ScheduledWindow | None:
        window, day = self.time_window, self.scheduled_date
        if window is None or day is None or self.timezone is None:
            return None
        instants = window_instants(day, window.start, window.end, self.timezone)
        return None if instants is None else ScheduledWindow(starts_at=instants[0], ends_at=instants[1])


class ContactIn(Input):
    """The person or company at the address; at least one field."""

    first_name: OptionalPersonName = Field(None, description="Given name.")
    last_name: OptionalPersonName = Field(None, description="Family name.")
    company: OptionalName = Field(None, description="Name of the company.")
    phone: OptionalPhone = Field(None, description="With its country code; stored in E.164 format.")
    email: OptionalEmail = Field(None, description="E-mail address.")

    @model_validator(mode="after")
    def _require_content(self) -> "ContactIn":
        if not any((self.first_name, self.last_name, self.company, self.phone, self.email)):
            raise PydanticCustomError(
                "contact_empty", "expected a name, a company, a phone number or an e-mail address"
            )
        return self


class TimeWindowIn(Input):
    """A range of hours, in the job's time zone, that begins on its scheduled date. 22:00 to 02:00 ends on the next day."""

    start: WindowStart = Field(description="HH:MM, 00:00 to 23:59.")
    end: WindowEnd = Field(
        description="HH:MM, 00:00 to 24:00; earlier than `start`: on the next day. 24 hours at most."
    )

    @field_validator("end")
    @classmethod
    def _require_length(cls, end: str, info: ValidationInfo) -> str:
        if end == info.data.get("start"):
            raise PydanticCustomError("time_window_empty", "must differ from start: a whole day is 00:00 to 24:00")
        return end


class MoneyIn(Input):
    """An amount of money in minor units."""

    amount: Integer = Field(ge=0, le=AMOUNT_MAX, description="Minor units, such as cents.")
    currency: Currency = Field(description="ISO 4217, in capitals.")


class StopIn(Input):
    """Another address, for one action."""

    name: OptionalName = Field(None, description="Name of the place, such as a warehouse.")
    address: AddressIn = Field(description="Address of the stop.")
    geo: GeoIn | None = Field(None, description="Coordinates of the stop, if known.")
    instructions: OptionalText = Field(
        None, max_length=INSTRUCTIONS_CHARS_MAX, description="Instructions for the stop."
    )


class ActionIn(Input):
    """A unit of work inside a job."""

    type: JobType | None = Field(None, description="What is done; the job's type when left out.")
    sku: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="Stock-keeping unit.")
    description: OptionalText = Field(None, max_length=DESCRIPTION_CHARS_MAX, description="What it is.")
    position: OptionalInteger = Field(
        None,
        ge=1,
        le=POSITION_MAX,
        description="Order within the job, smallest first; equal positions keep the given order. Default: the place in the list, from 1.",
    )
    quantity: Integer = Field(1, ge=1, le=QUANTITY_MAX, description="Number of units, in `unit`.")
    unit: OptionalText = Field(None, max_length=UNIT_CHARS_MAX, description="Unit of the quantity, such as box.")
    piece_count: OptionalInteger = Field(None, ge=1, le=PIECES_MAX, description="Number of pieces to carry.")
    value: MoneyIn | None = Field(None, description="Value of all units together.")
    weight_grams: OptionalInteger = Field(
        None, ge=0, le=WEIGHT_GRAMS_MAX, description="Weight of all units together, in grams."
    )
    volume_cubic_cm: OptionalInteger = Field(
        None,
        ge=0,
        le=VOLUME_CUBIC_CM_MAX,
        description="Volume of all units together, in cubic centimetres.",
    )
    handling_seconds: OptionalInteger = Field(
        None, ge=0, le=HANDLING_SECONDS_MAX, description="Time needed at the address, in seconds."
    )
    stop: StopIn | None = Field(
        None,
        description="Another address where the goods are picked up or delivered; only for pickup, return and exchange.",
    )
    invoice_number: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="Number of the invoice.")
    barcode: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="Barcode of the goods.")
    external_reference_id: OptionalReferenceId = Field(None, description="Your own reference of the action.")


class JobIn(Input):
    """A job to create."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "contact": {"first_name": "Ada", "phone": "+15145550100"},
                    "address": {"raw": "1 Rue Sherbrooke, Montréal"},
                    "location_id": "loc_01h455vb4pex5vsknk084sn02q",
                    "actions": [{"type": "delivery", "description": "Sofa", "quantity": 1, "sku": "S-1"}],
                }
            ]
        }
    }

    merchant_id: MerchantId | None = Field(
        None,
        description="The merchant that orders the job. Required for administrators; a merchant creates its own jobs and can omit it.",
    )
    reference_id: OptionalReferenceId = Field(
        None,
        description="Your own reference of the job; unique among the merchant's jobs.",
    )
    type: JobType = Field("delivery", description="Kind of work.")
    short_description: OptionalText = Field(
        None, max_length=SHORT_DESCRIPTION_CHARS_MAX, description="One line for dispatch."
    )
    scheduled_date: OptionalCalendarDate = Field(
        None, le=SCHEDULED_MAX, description="Day in the job's time zone, YYYY-MM-DD, at most 9000-12-31."
    )
    time_window: TimeWindowIn | None = Field(None, description="Hours of the scheduled date, in the job's time zone.")
    timezone: OptionalTimeZone = Field(None, description="IANA time zone. Default: that of the location.")
    priority: Integer = Field(0, ge=0, le=PRIORITY_MAX, description="Priority, 0 to 100; larger is more urgent.")
    contact: ContactIn = Field(description="The person or company at the address.")
    address: AddressIn = Field(description="Address of the job.")
    geo: GeoIn | None = Field(None, description="Coordinates of the address, if known.")
    location_id: LocationId | None = Field(
        None, description="One of the merchant's active locations. Default: the merchant's default location."
    )
    distribution_location_id: LocationId | None = Field(
        None, description="Origin of the goods: one of the merchant's active locations."
    )
    balance_owed: MoneyIn | None = Field(None, description="Amount to collect at the address.")
    instructions: OptionalText = Field(
        None, max_length=INSTRUCTIONS_CHARS_MAX, description="Instructions for those who do the work."
    )
    invoices: list[Number] = Field([], max_length=INVOICES_MAX, description="Invoice numbers.")
    barcodes: list[Number] = Field([], max_length=BARCODES_MAX, description="Barcodes of the goods.")
    tags: Annotated[list[Tag], EACH_ONCE] = Field(
        [], max_length=TAGS_MAX, description="Your own labels; repeated ones are dropped."
    )
    metadata: Metadata = Field(
        {}, description="Up to 50 keys of 40 characters, each with a string of up to 500 characters."
    )
    actions: list[ActionIn] = Field([], max_length=ACTIONS_INLINE_MAX, description="Actions of the job, up to 200.")

    @field_validator("actions")
    @classmethod
    def _require_stops_allowed(cls, actions: list[ActionIn], info: ValidationInfo) -> list[ActionIn]:
        refused = [
            InitErrorDetails(type=STOP_MISPLACED, loc=(index, "stop"), input=None)
            for index, action in enumerate(actions)
            if action.stop is not None and (action.type or info.data.get("type")) not in STOP_TYPES
        ]
        if refused:
            raise ValidationError.from_exception_data("actions", refused)
        return actions
