"""Many jobs in one request, and what became of each."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from jobs.job_store import Job, JobIn
from shared.api import Input
from shared.api.problems import Problem
from shared.api.request_body import part
from shared.errors import Invalid

ITEMS_MAX = 200


def _parse_items(items: object) -> list[JobIn | Invalid]:
    """The jobs that are asked for; in place of one that is not acceptable, why."""
    if not isinstance(items, list) or not 0 < len(items) <= ITEMS_MAX:
        raise PydanticCustomError("items", "expected a list of 1 to {items_max} jobs", {"items_max": ITEMS_MAX})
    return [_parse_item(item) for item in items]


def _parse_item(item: object) -> JobIn | Invalid:
    try:
        return part(JobIn, item)
    except Invalid as refusal:
        return refusal


class BulkIn(Input):
    """Jobs to create together."""

    mode: Literal["partial", "atomic"] = Field(
        "partial",
        description="`partial`: those that can be created are created. `atomic`: all of them, or none.",
    )
    items: Annotated[
        list[JobIn | Invalid],
        PlainValidator(
            _parse_items, json_schema_input_type=Annotated[list[JobIn], Field(min_length=1, max_length=ITEMS_MAX)]
        ),
    ] = Field(description=f"1 to {ITEMS_MAX} jobs; each is judged by itself.")


class ItemProblem(Problem):
    """Why one item was not created; its pointers are relative to the item."""

    model_config = ConfigDict(extra="allow")


class BulkItem(BaseModel):
    """What became of one item."""

    index: int = Field(description="Its place in the request, from 0.")
    status: int = Field(
        description="201 when it was created; else what the same job alone would have been answered, or 424 when it could have been "
        "created and was not, because another could not."
    )
    id: str | None = Field(None, description="The new job's id.")
    job: Job | None = Field(None, description="The new job.")
    problem: ItemProblem | None = Field(None, description="Why it was not created.")


class BulkResult(BaseModel):
    """What became of all of them, in the order of the request."""

    object: Literal["bulk_result"] = "bulk_result"
    mode: Literal["partial", "atomic"]
    created: int = Field(description="Jobs created.")
    failed: int = Field(description="Items that were not.")
    results: list[BulkItem]


def problem_of(members: dict[str, Any]) -> ItemProblem:
    """A problem document's members as part of a larger answer."""
    return ItemProblem.model_validate(members)
