"""Tables, and the API's views of them: `X` is answered, `XIn` is what creates one, `XFilters` narrows a list."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field as ColumnField
from sqlmodel import SQLModel

from jobs.domain import ActionStatus, JobStatus, JobType
from jobs.fields import (
    EACH_ONCE,
    CalendarDate,
    Country,
    Currency,
    EmailAddress,
    Metadata,
    OptionalText,
    PhoneNumber,
    QueryText,
    TimeZone,
)
from shared.database import NAMING
from shared.events.jobs import JobState
from shared.http import Input
from shared.ids import LocationId, MerchantId, TypedId
from shared.instants import Instant
from shared.migrations import add_plumbing_tables

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
AMOUNT_MAX = 10**12
ACTIONS_INLINE_MAX = 200
FILTER_VALUES_MAX = 50

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
    barcode: OptionalText = Field(None, max_length=NUMBER_CHARS_MAX, description="What a scanner reads from it.")


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
    scheduled_date: CalendarDate | None = Field(None, description="Day in the job's time zone, YYYY-MM-DD.")
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


class JobFilters(Input):
    """Which jobs a list shows; all conditions hold together, and a repeated parameter means any of its values."""

    status: list[JobStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    type: list[JobType] = Field([], max_length=FILTER_VALUES_MAX, description="Of any of these types.")
    reference_id: QueryText = Field(
        None, min_length=1, max_length=REFERENCE_CHARS_MAX, description="With exactly this reference."
    )
    location_id: list[LocationId] = Field([], max_length=FILTER_VALUES_MAX, description="At any of these locations.")
    merchant_id: MerchantId | None = Field(None, description="Administrators only.")
    created_gte: Instant | None = Field(None, description="Created at this instant or later.")
    created_lte: Instant | None = Field(None, description="Created at this instant or earlier.")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_paging(cls, given: Any) -> Any:
        # What asks for a page stands in the same query; any other unknown name is a misspelt filter and refused.
        return {name: value for name, value in given.items() if name not in ("limit", "cursor")}


# -- tables ----------------------------------------------------------------------------------------------------------------


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING))):
    """Tables of this service have metadata of their own; SQLModel's default is shared by everything in a process."""


def _one_of(column: str, values: object) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in getattr(values, "__args__", ()))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _required(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=False))


def _nullable(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=True))


class JobRow(Base, table=True):
    """A job. What is searched has a column of its own; what only travels along is kept as JSON in the API's own shape."""

    __tablename__ = "jobs"
    __table_args__ = (
        _one_of("status", JobStatus),
        _one_of("type", JobType),
        Index(
            "uq_jobs_reference",
            "merchant_id",
            "livemode",
            "reference_id",
            unique=True,
            postgresql_where=text("reference_id IS NOT NULL"),
        ),
        Index(
            "ix_jobs_reference",
            "tenant_id",
            "livemode",
            "reference_id",
            postgresql_where=text("reference_id IS NOT NULL"),
        ),
        Index("ix_jobs_of_tenant", "tenant_id", "livemode", "created_at", "id"),
        Index("ix_jobs_of_merchant", "merchant_id", "livemode", "created_at", "id"),
        Index("ix_jobs_of_location", "tenant_id", "livemode", "location_id", "created_at", "id"),
        Index("ix_jobs_of_status", "tenant_id", "livemode", "status", "created_at", "id"),
    )

    id: str = ColumnField(sa_column=Column(TypedId("job"), primary_key=True))
    tenant_id: str = _required(TypedId("ten"))
    merchant_id: str = _required(TypedId("mer"))
    livemode: bool = _required(Boolean())
    reference_id: str | None = _nullable(Text())
    status: JobStatus = _required(Text())
    type: JobType = _required(Text())
    location_id: str = _required(TypedId("loc"))
    distribution_location_id: str | None = _nullable(TypedId("loc"))
    scheduled_date: date | None = _nullable(Date())
    timezone: str = _required(Text())
    time_window: dict[str, Any] | None = _nullable(JSONB())
    priority: int = _required(SmallInteger())
    short_description: str | None = _nullable(Text())
    contact: dict[str, Any] = _required(JSONB())
    address: dict[str, Any] = _required(JSONB())
    geo: dict[str, Any] | None = _nullable(JSONB())
    balance_owed: dict[str, Any] | None = _nullable(JSONB())
    instructions: str | None = _nullable(Text())
    invoices: list[str] = _required(ARRAY(Text))
    barcodes: list[str] = _required(ARRAY(Text))
    tags: list[str] = _required(ARRAY(Text))
    metadata_: dict[str, str] = ColumnField(sa_column=Column("metadata", JSONB, nullable=False))
    created_by: str = _required(Text())
    sequence: int = _required(BigInteger())
    """Events of this job so far; the next one carries the number after it."""
    version: int = _required(BigInteger())
    created_at: datetime = _required(DateTime(timezone=True))
    updated_at: datetime = _required(DateTime(timezone=True))


class ActionRow(Base, table=True):
    """A unit of work inside a job; the job is its aggregate."""

    __tablename__ = "actions"
    __table_args__ = (
        _one_of("status", ActionStatus),
        _one_of("type", JobType),
        Index("ix_actions_of_job", "job_id", "position", "id"),
    )

    id: str = ColumnField(sa_column=Column(TypedId("act"), primary_key=True))
    job_id: str = ColumnField(sa_column=Column(TypedId("job"), ForeignKey("jobs.id"), nullable=False))
    type: JobType = _required(Text())
    position: int = _required(Integer())
    sku: str | None = _nullable(Text())
    description: str | None = _nullable(Text())
    quantity: int = _required(Integer())
    unit: str | None = _nullable(Text())
    barcode: str | None = _nullable(Text())
    status: ActionStatus = _required(Text())
    version: int = _required(BigInteger())
    created_at: datetime = _required(DateTime(timezone=True))
    updated_at: datetime = _required(DateTime(timezone=True))


add_plumbing_tables(Base.metadata)
