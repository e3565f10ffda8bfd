"""The body with many jobs, and the result of each."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from jobs.job_store import Job, JobIn
from shared.api import Input
from shared.api.problem_documents import ConflictProblem, InvalidProblem
from shared.api.request_body import part
from shared.errors import Invalid

ITEMS_MAX = 200
"""Jobs of one request."""


BulkMode = Literal["partial", "atomic"]


def _parse_items(items: object) -> list[JobIn | Invalid]:
    """The valid jobs; in place of an invalid one its refusal."""
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

    mode: BulkMode = Field(
        "partial",
        description="`partial`: all items that can be created are created. `atomic`: all items are created, or none.",
    )
    items: Annotated[
        list[JobIn | Invalid],
        PlainValidator(
            _parse_items, json_schema_input_type=Annotated[list[JobIn], Field(min_length=1, max_length=ITEMS_MAX)]
        ),
    ] = Field(description=f"1 to {ITEMS_MAX} jobs; each is checked on its own.")


class ItemProblem(ConflictProblem, InvalidProblem):
    """The problem of one item; its pointers are relative to the item."""

    model_config = ConfigDict(extra="allow")


class BulkItem(BaseModel):
    """The result of one item."""

    index: int = Field(description="Place of the item in the request, from 0.")
    status: int = Field(
        description="201 if the job was created; else the status that `POST /v1/jobs` would have, or 424 if only another item "
        "prevented the creation."
    )
    id: str | None = Field(None, description="Id of the created job.")
    job: Job | None = Field(None, description="The created job.")
    problem: ItemProblem | None = Field(None, description="Reason why the job was not created.")


class BulkResult(BaseModel):
    """The results of all items, in the order of the request."""

    object: Literal["bulk_result"] = "bulk_result"
    mode: BulkMode
    created: int = Field(description="Number of created jobs.")
    failed: int = Field(description="Number of items that were not created.")
    results: list[BulkItem]


def problem_of(members: dict[str, Any]) -> ItemProblem:
    """The members of a problem document as a part of the response."""
    return ItemProblem.model_validate(members)
