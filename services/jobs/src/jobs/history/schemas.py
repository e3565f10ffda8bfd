"""One entry of a job's history."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class JobHistoryEntry(BaseModel):
    """One change of a job, with the id of its event."""

    object: Literal["job_event"] = "job_event"
    id: str = Field(description="Id of the event that was published.")
    type: str = Field(description="Type of that event, such as job.updated.")
    sequence: int = Field(description="Number of the change, from 1 without gaps; the job's version after it.")
    actor: str = Field(description="Id of the user, merchant or key that made the change.")
    action_id: str | None = Field(None, description="Id of the action, for an action event.")
    changed_fields: list[str] = Field(description="Fields whose value changed.")
    changes: dict[str, Any] = Field(description="Value of each such field before (`from`) and after (`to`).")
    created_at: datetime = Field(description="Instant of the change.")
