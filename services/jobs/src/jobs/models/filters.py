"""What narrows a list."""

from typing import Any

from pydantic import Field, model_validator

from jobs.domain.states import JobStatus, JobType
from jobs.fields import QueryText
from jobs.models.inputs import REFERENCE_CHARS_MAX
from shared.http import Input
from shared.ids import LocationId, MerchantId
from shared.instants import Instant

FILTER_VALUES_MAX = 50


class JobFilters(Input):
    """Which jobs a list shows; all conditions hold together, and a repeated parameter means any of its values."""

    status: list[JobStatus] = Field([], max_length=FILTER_VALUES_MAX, description="In any of these statuses.")
    type: list[JobType] = Field([], max_length=FILTER_VALUES_MAX, description="Of any of these types.")
    reference_id: QueryText = Field(
        None, min_length=1, max_length=REFERENCE_CHARS_MAX, description="With exactly this reference."
    )
    location_id: list[LocationId] = Field([], max_length=FILTER_VALUES_MAX, description="At any of these locations.")
    merchant_id: MerchantId | None = Field(None, description="Administrators only.")
    created_gte: Instant | None = Field(None, description="Created at this instant or later.")
    created_lte: Instant | None = Field(None, description="Created at this instant or earlier.")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_paging(cls, given: Any) -> Any:
        # What asks for a page stands in the same query; any other unknown name is a misspelt filter and refused.
        return {name: value for name, value in given.items() if name not in ("limit", "cursor")}
