"""The filters and the result of a summary of jobs."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from jobs.fields import CalendarDate
from shared.api import Input
from shared.fields.places import OptionalTimeZone
from shared.ids import LocationId, MerchantId
from shared.timestamps import Timestamp

RANGE_DAYS_MAX = 366
RANGE_DAYS_DEFAULT = 30
LOCATIONS_MAX = 50
CountedBy = Literal["created_at", "scheduled_date"]


class JobSummaryFilters(Input):
    """Which jobs are counted: a range of creation instants or of scheduled dates, not both. Default: created in the last 30 days."""

    created_gte: Timestamp | None = Field(
        None, description=f"Created at this instant or later. Default: {RANGE_DAYS_DEFAULT} days before the end."
    )
    created_lte: Timestamp | None = Field(None, description="Created at this instant or earlier. Default: now.")
    scheduled_date_gte: CalendarDate | None = Field(
        None, description=f"Scheduled for this day or later. Default: {RANGE_DAYS_DEFAULT} days before the end."
    )
    scheduled_date_lte: CalendarDate | None = Field(
        None, description=f"Scheduled for this day or earlier. Default: {RANGE_DAYS_DEFAULT} days after the start."
    )
    merchant_id: MerchantId | None = Field(None, description="Jobs of this merchant.")
    location_id: list[LocationId] = Field([], max_length=LOCATIONS_MAX, description="At any of these locations.")
    timezone: OptionalTimeZone = Field("UTC", description="IANA time zone of the days of creation.")


class DayCount(BaseModel):
    date: date
    count: int = Field(description="Number of jobs of this day.")


class JobSummary(BaseModel):
    """Numbers of jobs, without deleted ones."""

    object: Literal["job_summary"] = "job_summary"
    counted_by: CountedBy = Field(description="Which day of a job is counted.")
    since: datetime | date = Field(description="First instant of the range, or its first scheduled day.")
    until: datetime | date = Field(description="Last instant of the range, or its last scheduled day.")
    timezone: str = Field(
        description="Time zone of the days of creation. Scheduled days are in the time zone of each job."
    )
    total: int = Field(description="Number of all jobs of the range.")
    by_status: dict[str, int] = Field(description="Number of jobs by status, for every status.")
    by_type: dict[str, int] = Field(description="Number of jobs by type, for every type.")
    by_location: dict[str, int] = Field(description="Number of jobs by location id, for locations with jobs.")
    by_day: list[DayCount] = Field(
        description=f"Number of jobs of every day of the range, in order, at most {RANGE_DAYS_MAX + 2} days."
    )
