"""The patch of a job."""

from typing import Annotated, Any

from jobs.job_store import JobIn
from shared.fields.merge_patch import MetadataPatch, patch_schema

JobPatch = Annotated[
    dict[str, Any],
    patch_schema(
        "JobPatch",
        JobIn,
        example={"priority": 10, "contact": {"email": None}, "metadata": {"gate": "7"}},
        instead={"metadata": MetadataPatch},
        refused={
            "merchant_id": "the merchant of a job cannot be changed",
            "actions": "actions are changed individually, under /v1/jobs/{job_id}/actions",
        },
    ),
]
"""A merge patch of a job, as a mapping of the members that the client sent."""
