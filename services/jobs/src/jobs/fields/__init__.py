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
from jobs.fields.schemas import (
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

__all__ = [
    "EACH_ONCE",
    "CalendarDate",
    "Country",
    "Currency",
    "EmailAddress",
    "Metadata",
    "MetadataPatch",
    "OptionalText",
    "PhoneNumber",
    "QueryText",
    "TimeZone",
    "apply_patch",
    "as_document",
    "merge",
    "merge_patch_body",
    "parse_document",
    "patch_schema",
]
