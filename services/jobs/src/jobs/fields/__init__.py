"""Types of values that clients send, and merge patches of them."""

from jobs.fields.merge_patch import (
    MetadataPatch,
    apply_patch,
    as_document,
    merge,
    merge_patch_body,
    parse_document,
    patch_schema,
)
from jobs.fields.schemas import EACH_ONCE, CalendarDate, OptionalCalendarDate

__all__ = [
    "EACH_ONCE",
    "CalendarDate",
    "MetadataPatch",
    "OptionalCalendarDate",
    "apply_patch",
    "as_document",
    "merge",
    "merge_patch_body",
    "parse_document",
    "patch_schema",
]
