"""Editing: patches of jobs, their end and return, and copies. What may be changed when is said by `domain.states`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jobs import jobs, places
from jobs.changes import Held, hold, record
from jobs.domain import placing
from jobs.domain.states import DELETABLE, JobStatus, allowed_transitions, require_editable
from jobs.models.changes import ACTIONS_MAX
from jobs.models.inputs import ActionIn, Job, JobIn
from jobs.models.tables import JobRow
from jobs.patches import document_of, merge, parsed, patched
from jobs.rows import require_job
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api import IfMatch
from shared.errors import Conflict, NotFound, Unavailable, WaybillError
from shared.messaging import outbox

REFERENCE_INDEX = "uq_jobs_reference"
PERSONAL = frozenset({"contact", "address", "geo"})
"""Who and where: what an erasure has emptied for good."""
_PLACES = ("location_id", "distribution_location_id")


class NotDeletable(Conflict):
    """The job has begun, so it is kept."""

    def __init__(self, status: JobStatus):
        super().__init__(
            f"a job that is {status} cannot be deleted",
            code="not_deletable",
            current_status=status,
            allowed_transitions=allowed_transitions(status),
        )


class JobErased(Conflict):
    """The personal data of the job's customer was erased, and with it what was asked for."""

    def __init__(self, detail: str):
        super().__init__(detail, code="job_erased")


class _Copy(JobIn):
    """A job as it was ordered, with as many actions as a job can come to have."""

    actions: list[ActionIn] = Field([], max_length=ACTIONS_MAX)


async def patch(
    session: AsyncSession, access: Access, caller: Caller, job_id: str, patch: Mapping[str, Any], if_match: IfMatch
) -> Job:
    """Apply a merge patch (`models.changes.JobPatch`); one that changes nothing leaves the job as it is.

    Raises `NotFound`, `PreconditionFailed`, `Invalid`, `NotEditable`, `JobErased` or `placing.ReferenceTaken`.
    """
    held = await hold(session, access, caller, job_id, if_match)
    asked = patched(JobIn, held.before, patch)
    await _place(session, held.row, asked)
    changed = {name: value for name, value in asked.items() if value != getattr(held.row, _column(name))}
    require_editable(held.row.status, changed)
    if held.row.erased_at is not None and PERSONAL & changed.keys():
        raise JobErased("the personal data of this job's customer was erased: it cannot be given anew")
    async with _taking_reference(session, caller, held.row.merchant_id, changed.get("reference_id")):
        for name, value in changed.items():
            setattr(held.row, _column(name), value)
        return await record(session, caller, held, "job.updated")


async def delete(session: AsyncSession, access: Access, caller: Caller, job_id: str, if_match: IfMatch) -> None:
    """Delete a job and its actions, so that they can be restored; nothing when that was done before.

    Raises `NotFound`, `PreconditionFailed` or `NotDeletable`.
    """
    try:
        held = await hold(session, access, caller, job_id, if_match)
    except NotFound:
        await require_job(session, caller, job_id, deleted=True)
        return
    if held.row.status not in DELETABLE:
        raise NotDeletable(held.row.status)
    _set_deleted(held, held.now)
    await record(session, caller, held, "job.deleted")


async def restore(session: AsyncSession, access: Access, caller: Caller, job_id: str, if_match: IfMatch) -> Job:
    """Bring a deleted job back with the actions that went with it; one that is not deleted stays as it is.

    Raises `NotFound`, `PreconditionFailed`, or `placing.ReferenceTaken` when another job has its reference by now.
    """
    try:
        held = await hold(session, access, caller, job_id, if_match, deleted=True)
    except NotFound:
        return (await hold(session, access, caller, job_id, if_match)).before
    async with _taking_reference(session, caller, held.row.merchant_id, held.row.reference_id):
        _set_deleted(held, None)
        return await record(session, caller, held, "job.restored")


async def clone(
    session: AsyncSession, access: Access, caller: Caller, job_id: str, patch: Mapping[str, Any] | None
) -> Job:
    """A new job that asks for the same, patched; with the same actions to be done, and without the reference.

    Raises `NotFound`, `JobErased`, or what keeps a new job from being created.
    """
    source = await jobs.get(session, caller, job_id)
    if source.erased_at is not None:
        raise JobErased("the personal data of this job's customer was erased: it cannot be ordered anew")
    document = document_of(_Copy, source)
    document.pop("reference_id", None)
    document["actions"] = [document_of(ActionIn, action) for action in source.actions]
    (result,) = await jobs.create(session, access, [jobs.Order(caller, parsed(_Copy, merge(document, patch or {})))])
    if isinstance(result, WaybillError):
        raise result
    for fact in result.facts:
        outbox.publish(session, fact)
    assert isinstance(result.answer, Job)
    return result.answer


def _column(name: str) -> str:
    """The attribute of the row that holds a field; `metadata` is a name of SQLAlchemy's own."""
    return "metadata_" if name == "metadata" else name


def _set_deleted(held: Held, at: datetime | None) -> None:
    held.row.deleted_at = at
    for action in held.actions.values():
        action.deleted_at = at


async def _place(session: AsyncSession, row: JobRow, asked: dict[str, Any]) -> None:
    """Settle where the job is to be; what is not moved stays, whatever has become of it. Raises `Invalid`."""
    moved = {name: asked[name] for name in _PLACES if name in asked and asked[name] != getattr(row, name)}
    if moved:
        merchants = await places.merchants(session, {row.merchant_id})
        merchant = merchants.get((row.tenant_id, row.merchant_id))
        if merchant is None:
            raise Unavailable("this job's merchant is not known here yet", code="access_not_ready")
        distribution = moved.get("distribution_location_id")
        if "location_id" in moved:
            asked["location_id"] = placing.location_for(merchant, moved["location_id"], distribution)
        elif violations := placing.foreign(merchant, None, distribution):
            raise placing.not_allowed(violations)
        location = asked["location_id"] if "location_id" in moved and asked["location_id"] != row.location_id else None
        refusal = await places.refusal(session, location, distribution)
        if refusal is not None:
            raise refusal
    if "timezone" in asked and asked["timezone"] is None:
        asked["timezone"] = await places.time_zone(session, asked.get("location_id", row.location_id))


@asynccontextmanager
async def _taking_reference(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str | None
) -> AsyncIterator[None]:
    """A block in which a job is given this reference. Raises `placing.ReferenceTaken`, also when another takes it meanwhile."""
    if reference_id is None:
        yield
        return
    taken = await jobs.reference_taken(session, caller, merchant_id, reference_id)
    if taken is not None:
        raise taken
    try:
        # The savepoint lets the transaction live on, to find out who was faster.
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        if REFERENCE_INDEX not in str(error.orig):
            raise
        taken = await jobs.reference_taken(session, caller, merchant_id, reference_id)
        raise taken or Unavailable("what this change depends on has just changed", code="changed_meanwhile") from error
