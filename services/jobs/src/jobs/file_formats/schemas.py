"""The file formats and their media types."""

from typing import Literal

Format = Literal["csv", "ndjson"]

FORMATS: dict[str, Format] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
"""The format of each media type."""

Separator = Literal[",", ";", "\t"]

SEPARATORS: tuple[Separator, ...] = (",", ";", "\t")
"""What can be between the cells of a CSV file."""
