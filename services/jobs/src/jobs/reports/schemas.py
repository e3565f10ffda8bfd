"""Summaries of jobs."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from jobs.fields import CalendarDate, TimeZone
from jobs.job_store import ZONE_CHARS_MAX
from shared.api import Input
from shared.ids import LocationId, MerchantId
from shared.timestamps import Timestamp

RANGE_DAYS_MAX = 366
RANGE_DAYS_DEFAULT = 30
LOCATIONS_MAX = 50


class JobSummaryFilters(Input):
    """Which jobs are counted: by their creation or by their date, not both; the last 30 days when no range is named."""

    created_gte: Timestamp | None = Field(
        None, description=f"Created at this instant or later; {RANGE_DAYS_DEFAULT} days before the end when left out."
    )
    created_lte: Timestamp | None = Field(None, description="Created at this instant or earlier; now when left out.")
    scheduled_date_gte: CalendarDate | None = Field(
        None, description=f"Planned for this day or later; {RANGE_DAYS_DEFAULT} days before the end when left out."
    )
    scheduled_date_lte: CalendarDate | None = Field(
        None, description=f"Planned for this day or earlier; {RANGE_DAYS_DEFAULT} days after the start when left out."
    )
    merchant_id: MerchantId | None = Field(None, description="Of this merchant alone.")
    location_id: list[LocationId] = Field([], max_length=LOCATIONS_MAX, description="At any of these locations.")
    timezone: TimeZone = Field(
        "UTC", max_length=ZONE_CHARS_MAX, description="IANA time zone in which days of creation begin and end."
    )


class DayCount(BaseModel):
    date: date
    count: int = Field(description="Jobs of this day.")


class JobSummary(BaseModel):
    """How many jobs there are, deleted ones apart."""

    object: Literal["job_summary"] = "job_summary"
    counted_by: Literal["created_at", "scheduled_date"] = Field(description="Which day of a job counts.")
    since: datetime | date = Field(description="First instant or, of planned jobs, first day that counts.")
    until: datetime | date = Field(description="Last instant or day that counts.")
    timezone: str = Field(description="Whose days of creation these are; planned days are each job's own.")
    total: int = Field(description="Jobs in all.")
    by_status: dict[str, int] = Field(description="Jobs by status; every status is named.")
    by_type: dict[str, int] = Field(description="Jobs by type; every type is named.")
    by_location: dict[str, int] = Field(description="Jobs by location id; locations without any are left out.")
    by_day: list[DayCount] = Field(description=f"Every day of the range in its order, at most {RANGE_DAYS_MAX + 2}.")
