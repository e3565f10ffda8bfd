"""Types of values that only jobs takes."""

from jobs.fields.schemas import EACH_ONCE, CalendarDate, OptionalCalendarDate

__all__ = [
    "EACH_ONCE",
    "CalendarDate",
    "OptionalCalendarDate",
]
