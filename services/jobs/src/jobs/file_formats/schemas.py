"""The file formats and their media types."""

from typing import Literal

Format = Literal["csv", "ndjson"]

FORMATS: dict[str, Format] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
"""The format of each media type."""
