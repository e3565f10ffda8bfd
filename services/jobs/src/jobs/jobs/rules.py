"""Why a job cannot be created or changed as requested."""

from shared.errors import Conflict


class ReferenceTaken(Conflict):
    """The merchant already has a job with this reference."""

    def __init__(self, reference_id: str, existing_id: str):
        super().__init__(
            f"a job with the reference_id {reference_id!r} exists", code="reference_id_taken", existing_id=existing_id
        )


PERSONAL_FIELDS = frozenset({"contact", "address", "geo"})
"""Who and where: what an erasure has emptied for good."""


class JobErased(Conflict):
    """The personal data of the job's customer was erased, and with it what was asked for."""

    def __init__(self, detail: str):
        super().__init__(detail, code="job_erased")
