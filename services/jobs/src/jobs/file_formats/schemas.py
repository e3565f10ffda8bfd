"""The file formats and their media types."""

from typing import Literal

Format = Literal["csv", "ndjson"]

FORMATS: dict[str, Format] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
"""The format of each media type."""

EXAMPLES: dict[str, str] = {
    "text/csv": "reference_id,contact.first_name,contact.phone,address.raw\nA-1001,Ada,+15145550100,1 Rue Sherbrooke\n",
    "application/x-ndjson": '{"reference_id":"A-1001","contact":{"first_name":"Ada"},"address":{"raw":"1 Rue Sherbrooke"}}\n',
}
"""A file of each media type, for the documents."""

Separator = Literal[",", ";", "\t"]

SEPARATORS: tuple[Separator, ...] = (",", ";", "\t")
"""What can be between the cells of a CSV file."""
