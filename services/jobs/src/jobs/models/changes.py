"""What changes a job or an action, as clients send it, and the history that is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from jobs.fields import OptionalText
from jobs.models.inputs import QUANTITY_MAX, ActionIn, JobIn
from jobs.patches import MetadataPatch, patch_of
from shared.api import Input

REASON_CHARS_MAX = 1_000
NOTE_CHARS_MAX = 1_000
ASSIGNEE_CHARS_MAX = 200
ACTIONS_MAX = 500
"""Actions of one job, however they came."""

JobPatch = Annotated[
    dict[str, Any],
    patch_of(
        "JobPatch",
        JobIn,
        example={"priority": 10, "contact": {"email": None}, "metadata": {"gate": "7"}},
        instead={"metadata": MetadataPatch},
        refused={
            "merchant_id": "a job stays its merchant's: it cannot be changed",
            "actions": "actions are changed one by one, under /v1/jobs/{job_id}/actions",
        },
    ),
]
"""A patch of a job: the members that it names."""

ActionPatch = Annotated[
    dict[str, Any],
    patch_of(
        "ActionPatch", ActionIn, example={"quantity": 2, "stop": {"instructions": "Rear door"}}, instead={}, refused={}
    ),
]
"""A patch of an action: the members that it names."""


class Assignment(Input):
    """Who is to carry a job out."""

    assigned_to: Annotated[str, StringConstraints(min_length=1, max_length=ASSIGNEE_CHARS_MAX)] = Field(
        description="A name or number of your own, 1 to 200 characters."
    )


class Reason(Input):
    """Why a job is moved."""

    reason: OptionalText = Field(
        None, max_length=REASON_CHARS_MAX, description="Kept as the job's `status_reason`; up to 1000 characters."
    )


class OutcomeIn(Input):
    """What became of an action's units; the three counters add up to its quantity."""

    completed: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were done, in `unit`.")
    incomplete: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were not done, likewise.")
    damaged: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were damaged, likewise.")
    note: OptionalText = Field(None, max_length=NOTE_CHARS_MAX, description="What happened; up to 1000 characters.")


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
