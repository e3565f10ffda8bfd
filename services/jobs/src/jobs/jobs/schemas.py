"""A patch of a job."""

from typing import Annotated, Any

from jobs.fields import MetadataPatch, patch_schema
from jobs.job_store import JobIn

JobPatch = Annotated[
    dict[str, Any],
    patch_schema(
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
