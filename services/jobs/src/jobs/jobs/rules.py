"""Refusals of a creation or change of a job."""

from shared.errors import Conflict


class ReferenceTaken(Conflict):
    """The merchant has another job with this reference."""

    def __init__(self, reference_id: str, existing_id: str):
        super().__init__(
            f"a job with the reference_id {reference_id!r} exists", code="reference_id_taken", existing_id=existing_id
        )


PERSONAL_FIELDS = frozenset({"contact", "address", "geo"})
"""Fields that an erasure has emptied; they cannot be set again."""


class JobErased(Conflict):
    """The personal data of the job's customer was erased, so the request is no longer possible."""

    def __init__(self, detail: str):
        super().__init__(detail, code="job_erased")
