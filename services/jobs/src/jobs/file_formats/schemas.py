"""The formats of files, by media type."""

from typing import Literal

Format = Literal["csv", "ndjson"]

FORMATS: dict[str, Format] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
"""By the media type of the file."""
