"""The patch and the outcome of an action."""

from typing import Annotated, Any

from pydantic import Field

from jobs.job_store import QUANTITY_MAX, ActionIn
from shared.api import Input
from shared.fields.merge_patch import patch_schema
from shared.fields.numbers import Integer
from shared.fields.text import OptionalText

NOTE_CHARS_MAX = 1_000

ActionPatch = Annotated[
    dict[str, Any],
    patch_schema(
        "ActionPatch", ActionIn, example={"quantity": 2, "stop": {"instructions": "Rear door"}}, instead={}, refused={}
    ),
]
"""A merge patch of an action, as a mapping of the members that the client sent."""


class OutcomeIn(Input):
    """The outcome of an action, in units; the sum of the three numbers is its quantity."""

    completed: Integer = Field(0, ge=0, le=QUANTITY_MAX, description="Units that were completed.")
    incomplete: Integer = Field(0, ge=0, le=QUANTITY_MAX, description="Units that were not completed.")
    damaged: Integer = Field(0, ge=0, le=QUANTITY_MAX, description="Units that were damaged.")
    note: OptionalText = Field(
        None, max_length=NOTE_CHARS_MAX, description="Note about the outcome, up to 1000 characters."
    )
