"""A patch of an action, and an action's outcome."""

from typing import Annotated, Any

from pydantic import Field

from jobs.fields import OptionalText, patch_schema
from jobs.job_store import QUANTITY_MAX, ActionIn
from shared.api import Input

NOTE_CHARS_MAX = 1_000

ActionPatch = Annotated[
    dict[str, Any],
    patch_schema(
        "ActionPatch", ActionIn, example={"quantity": 2, "stop": {"instructions": "Rear door"}}, instead={}, refused={}
    ),
]
"""A patch of an action: the members that it names."""


class OutcomeIn(Input):
    """What became of an action's units; the three counters add up to its quantity."""

    completed: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were done, in `unit`.")
    incomplete: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were not done, likewise.")
    damaged: int = Field(0, ge=0, le=QUANTITY_MAX, strict=True, description="Units that were damaged, likewise.")
    note: OptionalText = Field(None, max_length=NOTE_CHARS_MAX, description="What happened; up to 1000 characters.")
