"""The bodies of commands."""

from pydantic import Field

from jobs.job_store import ASSIGNEE_CHARS_MAX
from shared.api import Input
from shared.fields.text import OptionalText, RequiredText

REASON_CHARS_MAX = 1_000


class Assignment(Input):
    """Who does the work of a job."""

    assigned_to: RequiredText = Field(
        max_length=ASSIGNEE_CHARS_MAX, description="Your own name or number of the assignee, 1 to 200 characters."
    )


class Reason(Input):
    """The reason of a command."""

    reason: OptionalText = Field(
        None,
        max_length=REASON_CHARS_MAX,
        description="Reason, stored as the job's `status_reason`; up to 1000 characters.",
    )
