"""The bodies of commands."""

from typing import Annotated

from pydantic import Field, StringConstraints

from jobs.fields import OptionalText
from jobs.job_store import ASSIGNEE_CHARS_MAX
from shared.api import Input

REASON_CHARS_MAX = 1_000


class Assignment(Input):
    """Who does the work of a job."""

    assigned_to: Annotated[str, StringConstraints(min_length=1, max_length=ASSIGNEE_CHARS_MAX)] = Field(
        description="Your own name or number of the assignee, 1 to 200 characters."
    )


class Reason(Input):
    """The reason of a command."""

    reason: OptionalText = Field(
        None,
        max_length=REASON_CHARS_MAX,
        description="Reason, stored as the job's `status_reason`; up to 1000 characters.",
    )
