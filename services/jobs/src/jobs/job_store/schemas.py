"""What creates a job and its actions, and the job that the API shows."""

from datetime import date
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from jobs.fields import (
    EACH_ONCE,
    CalendarDate,
    Country,
    Currency,
    EmailAddress,
    Metadata,
    OptionalText,
    PhoneNumber,
    TimeZone,
)
from jobs.job_store.rules import STOP_TYPES, JobStatus, JobType
from shared.api import Input
from shared.events.jobs import JobState
from shared.ids import LocationId, MerchantId

NAME_CHARS_MAX = 100
COMPANY_CHARS_MAX = 200
PHONE_CHARS_MAX = 40
EMAIL_CHARS_MAX = 254
ADDRESS_CHARS_MAX = 500
ADDRESS_LINE_CHARS_MAX = 200
POSTAL_CODE_CHARS_MAX = 20
ZONE_CHARS_MAX = 64
REFERENCE_CHARS_MAX = 255
SHORT_DESCRIPTION_CHARS_MAX = 255
INSTRUCTIONS_CHARS_MAX = 5_000
NUMBER_CHARS_MAX = 100
"""Invoice numbers, barcodes and SKUs."""
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
"""Jobs without a date stand after all days that can be asked for."""
ACTIONS_INLINE_MAX = 200

STOP_MISPLACED = PydanticCustomError("stop_misplaced", "only a pickup, return or exchange has a stop of its own")

HourAndMinute = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Number = Annotated[str, StringConstraints(min_length=1, max_length=NUMBER_CHARS_MAX)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=TAG_CHARS_MAX)]


# -- what is answered ------------------------------------------------------------------------------------------------------


class Job(JobState):
    """Work that a merchant ordered, with its actions."""

    allowed_transitions: list[JobStatus] = Field(description="Statuses that the job can be moved to from here.")


# -- what clients send -----------------------------------------------------------------------------------------------------


class ContactIn(Input):
    """The person or company that is visited; at least one field."""

    first_name: OptionalText = Field(None, max_length=NAME_CHARS_MAX, description="Given name.")
    last_name: OptionalText = Field(None, max_length=NAME_CHARS_MAX, description="Family name.")
    company: OptionalText = Field(None, max_length=COMPANY_CHARS_MAX, description="Name of the company.")
    phone: PhoneNumber = Field(None, max_length=PHONE_CHARS_MAX, description="With its country code; kept in E.164.")
    email: EmailAddress = Field(None, max_length=EMAIL_CHARS_MAX, description="E-mail address.")

    @model_validator(mode="after")
    def _says_something(self) -> "ContactIn":
        if not any((self.first_name, self.last_name, self.company, self.phone, self.email)):
            raise PydanticCustomError("contact_empty", "give a name, a company, a phone number or an e-mail address")
        return self


class AddressIn(Input):
    """Where: as one text (`raw`), or in parts with at least `line1`."""

    raw: OptionalText = Field(None, max_length=ADDRESS_CHARS_MAX, description="The address as one text.")
    line1: OptionalText = Field(
        None, max_length=ADDRESS_LINE_CHARS_MAX, validate_default=True, description="Number and street."
    )
    line2: OptionalText = Field(None, max_length=ADDRESS_LINE_CHARS_MAX, description="Floor, suite or entrance.")
    city: OptionalText = Field(None, max_length=NAME_CHARS_MAX, description="City or town.")
    region: OptionalText = Field(None, max_length=NAME_CHARS_MAX, description="Province, state or department.")
    postal_code: OptionalText = Field(None, max_length=POSTAL_CODE_CHARS_MAX, description="Postal code.")
    country: Country = Field(None, max_length=2, description="ISO 3166-1 alpha-2, in capitals.")

    @field_validator("line1")
    @classmethod
    def _raw_or_line1(cls, line1: str | None, info: ValidationInfo) -> str | None:
        # A check of this field and not of the whole, so that it is reported together with other fields' faults.
        if line1 is None and "raw" in info.data and info.data["raw"] is None:
            raise PydanticCustomError("address_empty", "give raw, or line1 and what belongs to it")
        return line1


class GeoIn(Input):
    """A point, WGS 84."""

    latitude: float = Field(ge=-90, le=90, strict=True, description="Degrees, -90 to 90.")
    longitude: float = Field(ge=-180, le=180, strict=True, description="Degrees, -180 to 180.")


class TimeWindowIn(Input):
    """Within which hours of the day, in the job's time zone."""

    start: HourAndMinute = Field(description="HH:MM, 00:00 to 23:59.")
    end: HourAndMinute = Field(description="HH:MM, later than start.")

    @field_validator("end")
    @classmethod
    def _ends_after_start(cls, end: str, info: ValidationInfo) -> str:
        if "start" in info.data and end <= info.data["start"]:
            raise PydanticCustomError("time_window_order", "must be later than start")
        return end


class MoneyIn(Input):
    """An amount in minor units."""

    amount: int = Field(ge=0, le=AMOUNT_MAX, strict=True, description="Minor units, such as cents.")
    currency: Currency = Field(description="ISO 4217, in capitals.")


class StopIn(Input):
    """Another place that belongs to one action."""

    name: OptionalText = Field(None, max_length=COMPANY_CHARS_MAX, description="What is there, such as a warehouse.")
    address: AddressIn = Field(description="Where.")
    geo: GeoIn | None = Field(None, description="Where exactly, when it is known.")
    instructions: OptionalText = Field(None, max_length=INSTRUCTIONS_CHARS_MAX, description="For those who go there.")


class ActionIn(Input):
    """A unit of work inside a job."""

    type: JobType | None = Field(None, description="What is done; the job's type when left out.")
    sku: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="Stock-keeping unit.")
    description: OptionalText = Field(None, max_length=DESCRIPTION_CHARS_MAX, description="What it is.")
    position: int | None = Field(
        None,
        ge=1,
        le=POSITION_MAX,
        strict=True,
        description="Smaller comes first; equal ones keep the order given. The place in the list, from 1, when left out.",
    )
    quantity: int = Field(1, ge=1, le=QUANTITY_MAX, strict=True, description="How many, in `unit`.")
    unit: OptionalText = Field(None, max_length=UNIT_CHARS_MAX, description="What quantity counts, such as box.")
    piece_count: int | None = Field(None, ge=1, le=PIECES_MAX, strict=True, description="Pieces to carry.")
    value: MoneyIn | None = Field(None, description="What it is worth, all units together.")
    weight_grams: int | None = Field(
        None, ge=0, le=WEIGHT_GRAMS_MAX, strict=True, description="Grams, all units together."
    )
    volume_cubic_cm: int | None = Field(
        None, ge=0, le=VOLUME_CUBIC_CM_MAX, strict=True, description="Cubic centimetres, all units together."
    )
    handling_seconds: int | None = Field(
        None, ge=0, le=HANDLING_SECONDS_MAX, strict=True, description="Seconds that it takes on the spot."
    )
    stop: StopIn | None = Field(
        None, description="Where the goods are fetched or taken, when elsewhere; only for pickup, return and exchange."
    )
    invoice_number: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="Invoice it belongs to.")
    barcode: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="What a scanner reads from it.")
    external_reference_id: OptionalText = Field(
        None, max_length=REFERENCE_CHARS_MAX, description="Your own number for it."
    )


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
        None, description="For whom. Required from administrators; a merchant creates for itself and may leave it out."
    )
    reference_id: OptionalText = Field(
        None, max_length=REFERENCE_CHARS_MAX, description="Your own number for it; unique among the merchant's jobs."
    )
    type: JobType = Field("delivery", description="What is done there.")
    short_description: OptionalText = Field(
        None, max_length=SHORT_DESCRIPTION_CHARS_MAX, description="One line for those who plan the day."
    )
    scheduled_date: CalendarDate | None = Field(
        None, le=SCHEDULED_MAX, description="Day in the job's time zone, YYYY-MM-DD, until 9000-12-31."
    )
    time_window: TimeWindowIn | None = Field(None, description="Hours of the day, in the job's time zone.")
    timezone: TimeZone = Field(
        None, max_length=ZONE_CHARS_MAX, description="IANA time zone; the location's when left out."
    )
    priority: int = Field(0, ge=0, le=PRIORITY_MAX, strict=True, description="Larger is more urgent, 0 to 100.")
    contact: ContactIn = Field(description="Who is visited.")
    address: AddressIn = Field(description="Where.")
    geo: GeoIn | None = Field(None, description="Where exactly, when it is known.")
    location_id: LocationId | None = Field(
        None, description="One of the merchant's active locations; its default one when left out."
    )
    distribution_location_id: LocationId | None = Field(None, description="Where the goods come from, likewise.")
    balance_owed: MoneyIn | None = Field(None, description="What is to be collected on the spot.")
    instructions: OptionalText = Field(
        None, max_length=INSTRUCTIONS_CHARS_MAX, description="For those who carry it out."
    )
    invoices: list[Number] = Field([], max_length=INVOICES_MAX, description="Invoice numbers.")
    barcodes: list[Number] = Field([], max_length=BARCODES_MAX, description="What a scanner reads from the goods.")
    tags: Annotated[list[Tag], EACH_ONCE] = Field(
        [], max_length=TAGS_MAX, description="Words of your own; repeats are dropped."
    )
    metadata: Metadata = Field(
        {}, description="Up to 50 keys of 40 characters, each with up to 500 characters of text."
    )
    actions: list[ActionIn] = Field([], max_length=ACTIONS_INLINE_MAX, description="Units of work, up to 200.")

    @field_validator("actions")
    @classmethod
    def _stops_belong(cls, actions: list[ActionIn], info: ValidationInfo) -> list[ActionIn]:
        refused = [
            InitErrorDetails(type=STOP_MISPLACED, loc=(place, "stop"), input=None)
            for place, action in enumerate(actions)
            if action.stop is not None and (action.type or info.data.get("type")) not in STOP_TYPES
        ]
        if refused:
            raise ValidationError.from_exception_data("actions", refused)
        return actions


ASSIGNEE_CHARS_MAX = 200
