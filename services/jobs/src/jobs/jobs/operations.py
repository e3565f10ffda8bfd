"""Create, update, delete, restore and clone jobs. `create` takes many at once; the store inserts them by one statement."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jobs import reference_data
from jobs.job_store import (
    ACTIONS_MAX,
    DELETABLE,
    Action,
    ActionIn,
    Job,
    JobIn,
    JobRow,
    JobStatus,
    LockedJob,
    NewJob,
    NotDeletable,
    allowed_transitions,
    get_job,
    insert_jobs,
    locations_of,
    lock_for_update,
    new_action,
    require_editable,
    require_job,
    save,
)
from jobs.jobs.queries import reference_taken
from jobs.jobs.rules import PERSONAL_FIELDS, JobErased
from shared.access.principals import Caller
from shared.api import IfMatch
from shared.api.group_commit import Written
from shared.errors import Invalid, NotFound, Unavailable, Violation, WaybillError, invalid
from shared.events.jobs import JobChange, JobCreated
from shared.fields.merge_patch import apply_patch, as_document, merge, parse_document
from shared.ids import new_id
from shared.messaging import outbox

REFERENCE_INDEX = "uq_jobs_reference"
_LOCATION_FIELDS = ("location_id", "distribution_location_id")


class _CloneIn(JobIn):
    """A copy of a job, with as many actions as a job can have."""

    actions: list[ActionIn] = Field([], max_length=ACTIONS_MAX)


async def create(session: AsyncSession, requests: Sequence[tuple[Caller, JobIn]]) -> list[Written | WaybillError]:
    """Create jobs with their actions, for several callers at once, by one statement.

    Returns for each request the job with its event, which the caller of this function publishes, or the refusal: `Invalid` (merchant or
    location), `reference_data.MerchantInactive`, `ReferenceTaken` or `Unavailable`.
    """
    merchants = await reference_data.get_merchants(
        session, {requested.merchant_id for _, requested in requests} - {None}
    )
    job_review = await reference_data.get_job_review(
        session, {caller.tenant_id for caller, _ in requests if caller.kind == "merchant"}
    )
    now = datetime.now(UTC)
    drafts = [_prepare(caller, requested, merchants, job_review, now) for caller, requested in requests]
    timezones = await insert_jobs(session, [draft for draft in drafts if isinstance(draft, NewJob)])
    results: list[Written | WaybillError] = []
    for draft in drafts:
        if not isinstance(draft, NewJob):
            results.append(draft)
        elif draft.job.id not in timezones:
            results.append(await _refusal(session, draft))
        else:
            results.append(_created(draft, timezones[draft.job.id]))
    return results


async def create_valid(
    session: AsyncSession, caller: Caller, items: Sequence[JobIn | WaybillError]
) -> list[Written | WaybillError]:
    """Create a job for each valid item. Returns the result of each item, in their order; an invalid item keeps its refusal."""
    valid = [(index, item) for index, item in enumerate(items) if isinstance(item, JobIn)]
    created = await create(session, [(caller, item) for _, item in valid]) if valid else []
    results = dict(zip((index for index, _ in valid), created, strict=True))
    return [results[index] if isinstance(item, JobIn) else item for index, item in enumerate(items)]


def _prepare(
    caller: Caller,
    requested: JobIn,
    merchants: Mapping[tuple[str, str], reference_data.Merchant],
    job_review: Mapping[str, bool],
    now: datetime,
) -> NewJob | WaybillError:
    """The job of a request, not stored yet, or the refusal that needs no database."""
    try:
        merchant = _merchant_for(caller, requested.merchant_id, merchants)
        location_id = reference_data.choose_location(
            merchant, requested.location_id, requested.distribution_location_id
        )
        if not merchant.active:
            raise reference_data.MerchantInactive(merchant.id)
        status = _first_status(caller, job_review)
    except WaybillError as refusal:
        return refusal
    job_id = new_id("job")
    job = Job(
        **requested.model_dump(exclude={"merchant_id", "location_id", "actions"}),
        id=job_id,
        merchant_id=merchant.id,
        location_id=location_id,
        status=status,
        status_changed_at=now,
        actions=_new_actions(requested, job_id, now),
        allowed_transitions=allowed_transitions(status),
        created_by=caller.actor,
        livemode=caller.livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )
    return NewJob(caller, job, new_id("evt"))


def _first_status(caller: Caller, job_review: Mapping[str, bool]) -> JobStatus:
    """The status of a new job. Raises `Unavailable` before the tenant's events have arrived."""
    if caller.kind != "merchant":
        return "new"
    if caller.tenant_id not in job_review:
        raise Unavailable("the settings of this tenant are not known yet", code="access_not_ready")
    return "staging" if job_review[caller.tenant_id] else "new"


def _merchant_for(
    caller: Caller, merchant_id: str | None, merchants: Mapping[tuple[str, str], reference_data.Merchant]
) -> reference_data.Merchant:
    """The merchant of a job: the caller if it is a merchant, else the one that the request names. Raises `Invalid`."""
    if caller.kind == "merchant":
        principal = caller.principal
        own_id = principal.subject_id
        assert own_id is not None
        if merchant_id not in (None, own_id):
            raise _wrong_merchant("merchant_not_yours", "a merchant creates only its own jobs: omit this")
        return reference_data.Merchant(
            own_id, principal.subject_active, principal.location_ids, principal.default_location_id
        )
    if merchant_id is None:
        raise _wrong_merchant("merchant_required", "name the merchant that the job is for")
    found = merchants.get((caller.tenant_id, merchant_id))
    if found is None:
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")
    return found


def _wrong_merchant(code: str, message: str) -> Invalid:
    return invalid(Violation("/merchant_id", code, message))


def _new_actions(requested: JobIn, job_id: str, now: datetime) -> list[Action]:
    actions = [
        new_action(action, job_id, requested.type, position, now)
        for position, action in enumerate(requested.actions, start=1)
    ]
    return sorted(actions, key=lambda action: action.position)


def _created(draft: NewJob, timezone: str) -> Written:
    job = draft.job.model_copy(update={"timezone": timezone})
    tenant_id = draft.caller.tenant_id
    data = JobChange(tenant_id=tenant_id, location_ids=locations_of(job), sequence=1, livemode=job.livemode, job=job)
    event = JobCreated(
        id=draft.event_id, time=job.created_at, tenant_id=tenant_id, subject=job.id, sequence=1, data=data
    )
    return Written(job, (event,))


async def _refusal(session: AsyncSession, draft: NewJob) -> WaybillError:
    """Why the insert skipped a job: a location is not active, or its reference is taken."""
    job = draft.job
    refusal = await reference_data.check_locations(session, job.location_id, job.distribution_location_id)
    if refusal is not None:
        return refusal
    if job.reference_id is not None:
        taken = await reference_taken(session, draft.caller, job.merchant_id, job.reference_id)
        if taken is not None:
            return taken
    return Unavailable("a location or a job changed at the same moment: try again", code="changed_meanwhile")


async def update(
    session: AsyncSession, caller: Caller, job_id: str, patch: Mapping[str, Any], if_match: IfMatch
) -> Job:
    """Apply a merge patch (`JobPatch`). A patch that changes nothing writes nothing.

    Raises `NotFound`, `PreconditionFailed`, `Invalid`, `NotEditable`, `JobErased` or `ReferenceTaken`.
    """
    locked = await lock_for_update(session, caller, job_id, if_match)
    requested = apply_patch(JobIn, locked.before, patch)
    await _resolve_locations(session, locked.row, requested)
    changed = {name: value for name, value in requested.items() if value != getattr(locked.row, _column(name))}
    require_editable(locked.row.status, changed)
    if locked.row.erased_at is not None and PERSONAL_FIELDS & changed.keys():
        raise JobErased("the personal data of this job's customer was erased: these fields cannot be set again")
    async with _reserve_reference(session, caller, locked.row.merchant_id, changed.get("reference_id")):
        for name, value in changed.items():
            setattr(locked.row, _column(name), value)
        return await save(session, caller, locked, "job.updated")


async def delete(session: AsyncSession, caller: Caller, job_id: str, if_match: IfMatch) -> None:
    """Delete a job and its actions, so that they can be restored. A deleted job is left as it is.

    Raises `NotFound`, `PreconditionFailed` or `NotDeletable`.
    """
    try:
        locked = await lock_for_update(session, caller, job_id, if_match)
    except NotFound:
        await require_job(session, caller, job_id, deleted=True)
        return
    if locked.row.status not in DELETABLE:
        raise NotDeletable(locked.row.status)
    _set_deleted(locked, locked.now)
    await save(session, caller, locked, "job.deleted")


async def restore(session: AsyncSession, caller: Caller, job_id: str, if_match: IfMatch) -> Job:
    """Restore a deleted job with the actions that were deleted with it. A job that is not deleted is left as it is.

    Raises `NotFound`, `PreconditionFailed`, or `ReferenceTaken` if another job has its reference now.
    """
    try:
        locked = await lock_for_update(session, caller, job_id, if_match, deleted=True)
    except NotFound:
        return (await lock_for_update(session, caller, job_id, if_match)).before
    async with _reserve_reference(session, caller, locked.row.merchant_id, locked.row.reference_id):
        _set_deleted(locked, None)
        return await save(session, caller, locked, "job.restored")


async def clone(session: AsyncSession, caller: Caller, job_id: str, patch: Mapping[str, Any] | None) -> Job:
    """Create a copy of a job, with its actions and without its reference, changed by the patch.

    Raises `NotFound`, `JobErased`, or the refusals of `create`.
    """
    source = await get_job(session, caller, job_id)
    if source.erased_at is not None:
        raise JobErased("the personal data of this job's customer was erased: it cannot be copied")
    document = as_document(_CloneIn, source)
    document.pop("reference_id", None)
    document["actions"] = [as_document(ActionIn, action) for action in source.actions]
    (result,) = await create(session, [(caller, parse_document(_CloneIn, merge(document, patch or {})))])
    if isinstance(result, WaybillError):
        raise result
    for event in result.events:
        outbox.publish(session, event)
    assert isinstance(result.answer, Job)
    return result.answer


def _column(name: str) -> str:
    """The attribute of `JobRow` for a field: SQLAlchemy reserves the name `metadata`."""
    return "metadata_" if name == "metadata" else name


def _set_deleted(locked: LockedJob, at: datetime | None) -> None:
    locked.row.deleted_at = at
    for action in locked.actions.values():
        action.deleted_at = at


async def _resolve_locations(session: AsyncSession, row: JobRow, requested: dict[str, Any]) -> None:
    """Replace a null location and time zone by their defaults and check changed locations. Unchanged locations are not checked again.

    Raises `Invalid` or `Unavailable`.
    """
    moved = {
        name: requested[name]
        for name in _LOCATION_FIELDS
        if name in requested and requested[name] != getattr(row, name)
    }
    if moved:
        merchants = await reference_data.get_merchants(session, {row.merchant_id})
        merchant = merchants.get((row.tenant_id, row.merchant_id))
        if merchant is None:
            raise Unavailable("the merchant of this job is not known yet", code="access_not_ready")
        distribution = moved.get("distribution_location_id")
        if "location_id" in moved:
            requested["location_id"] = reference_data.choose_location(merchant, moved["location_id"], distribution)
        elif violations := reference_data.foreign_locations(merchant, None, distribution):
            raise reference_data.not_allowed(violations)
        location = (
            requested["location_id"] if "location_id" in moved and requested["location_id"] != row.location_id else None
        )
        refusal = await reference_data.check_locations(session, location, distribution)
        if refusal is not None:
            raise refusal
    if "timezone" in requested and requested["timezone"] is None:
        requested["timezone"] = await reference_data.get_time_zone(
            session, requested.get("location_id", row.location_id)
        )


@asynccontextmanager
async def _reserve_reference(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str | None
) -> AsyncIterator[None]:
    """The block sets this reference of a job. Raises `ReferenceTaken`, also if another transaction sets it at the same moment."""
    if reference_id is None:
        yield
        return
    taken = await reference_taken(session, caller, merchant_id, reference_id)
    if taken is not None:
        raise taken
    try:
        # The savepoint keeps the transaction usable, to find the job that has the reference.
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        if REFERENCE_INDEX not in str(error.orig):
            raise
        taken = await reference_taken(session, caller, merchant_id, reference_id)
        raise taken or Unavailable(
            "another job changed at the same moment: try again", code="changed_meanwhile"
        ) from error
