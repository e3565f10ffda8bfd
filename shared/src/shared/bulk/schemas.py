"""What all bulk commands show."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

BulkStatus = Literal["running", "completed", "cancelled", "failed"]
REFUSALS_SHOWN_MAX = 100


class BulkRefusal(BaseModel):
    """Why the command was not carried out on one record: what its own route would have answered."""

    object: Literal["bulk_refusal"] = "bulk_refusal"
    id: str = Field(description="The record.", examples=["job_01h455vb4pex5vsknk084sn02q"])
    code: str = Field(description="Code of the problem.", examples=["status_conflict"])
    detail: str = Field(
        description="What is in the way.", examples=["a job with status completed does not allow cancel"]
    )


class BulkView(BaseModel):
    """The progress of a bulk command."""

    id: str = Field(description="Id of the bulk command.", examples=["blk_01h455vb4pex5vsknk084sn02q"])
    livemode: bool
    dry_run: bool = Field(description="Whether nothing is changed: the numbers say what would be.")
    status: BulkStatus
    matched: int = Field(description="Records that match, as far as they have been read.", examples=[120])
    changed: int = Field(description="Those of them that were changed; in a dry run, that would be.", examples=[117])
    unchanged: int = Field(description="Those of them for which there was nothing to do.", examples=[2])
    refused: int = Field(description="Those of them that refused it.", examples=[1])
    refusals: list[BulkRefusal] = Field(description=f"The first {REFUSALS_SHOWN_MAX} of them, with the reason.")
    failure: str | None = Field(
        description="Why it failed: the code of the problem that ended it.", examples=["permission_missing"]
    )
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = Field(description="When it ended; null: it runs.", examples=["2030-01-31T09:00:00Z"])
    version: int
