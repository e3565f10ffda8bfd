"""The bodies of commands."""

from typing import Annotated

from pydantic import Field, StringConstraints

from jobs.fields import OptionalText
from jobs.job_store import ASSIGNEE_CHARS_MAX
from shared.api import Input

REASON_CHARS_MAX = 1_000


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
