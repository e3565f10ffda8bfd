"""One line of a job's history."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class JobHistoryEntry(BaseModel):
    """One change of a job: what the event of this id told."""

    object: Literal["job_event"] = "job_event"
    id: str = Field(description="Id of the event that was published.")
    type: str = Field(description="Type of that event, such as job.updated.")
    sequence: int = Field(
        description="Counts the changes of this job from 1, without gaps; the job's version after it."
    )
    actor: str = Field(description="Id of the user, merchant or key that caused it.")
    action_id: str | None = Field(None, description="In an action event, the action that it is about.")
    changed_fields: list[str] = Field(description="Fields that have another value than before.")
    changes: dict[str, Any] = Field(description="Of each such field its value before (`from`) and after (`to`).")
    created_at: datetime = Field(description="When it happened.")
