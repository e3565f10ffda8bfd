"""Create, update, delete, restore and clone jobs. Many are created at once, with one statement, for several callers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jobs import reference_data
from jobs.fields import apply_patch, as_document, merge, parse_document
from jobs.job_store import (
    ACTIONS_MAX,
    DELETABLE,
    ActionIn,
    Job,
    JobIn,
    JobRow,
    JobStatus,
    LockedJob,
    NewJob,
    NotDeletable,
    allowed_transitions,
    insert_jobs,
    locations_of,
    lock_for_update,
    new_action,
    require_editable,
    require_job,
    save,
)
from jobs.jobs import queries
from jobs.jobs.queries import reference_taken
from jobs.jobs.rules import PERSONAL_FIELDS, JobErased
from shared.access.principals import Caller
from shared.api import IfMatch
from shared.api.group_commit import Written
from shared.errors import Invalid, NotFound, Unavailable, Violation, WaybillError, invalid
from shared.events.jobs import ActionState, JobChange, JobCreated
from shared.ids import new_id
from shared.messaging import outbox


@dataclass(frozen=True, slots=True)
class Order:
    """What one caller asks to have created."""

    caller: Caller
    asked: JobIn


async def create(session: AsyncSession, orders: Sequence[Order]) -> list[Written | WaybillError]:
    """New jobs with their actions, for several callers at once; for each order the job with its event, or the refusal.

    Refusals: `Invalid` (merchant or location), `reference_data.MerchantInactive`, `ReferenceTaken`, `Unavailable`.
    """
    merchants = await reference_data.get_merchants(session, {order.asked.merchant_id for order in orders} - {None})
    now = datetime.now(UTC)
    drafts = [_prepare(order, merchants, now) for order in orders]
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


def _prepare(
    order: Order, merchants: Mapping[tuple[str, str], reference_data.Merchant], now: datetime
) -> NewJob | WaybillError:
    """The job that an order asks for, not yet written, or why it is refused before anything is written."""
    try:
        merchant = _merchant_for(order, merchants)
        location_id = reference_data.choose_location(
            merchant, order.asked.location_id, order.asked.distribution_location_id
        )
        if not merchant.active:
            raise reference_data.MerchantInactive(merchant.id)
    except WaybillError as refusal:
        return refusal
    job_id = new_id("job")
    # Jobs of merchants wait for dispatch to accept them where the tenant asks for that.
    status: JobStatus = "staging" if order.caller.principal.job_review and order.caller.kind == "merchant" else "new"
    job = Job(
        **order.asked.model_dump(exclude={"merchant_id", "location_id", "actions"}),
        id=job_id,
        merchant_id=merchant.id,
        location_id=location_id,
        status=status,
        status_changed_at=now,
        actions=_new_actions(order.asked, job_id, now),
        allowed_transitions=allowed_transitions(status),
        created_by=order.caller.actor,
        livemode=order.caller.livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )
    return NewJob(order.caller, job, new_id("evt"))


def _merchant_for(
    order: Order, merchants: Mapping[tuple[str, str], reference_data.Merchant]
) -> reference_data.Merchant:
    """Whom a job is for: a merchant itself, else the one that was named. Raises `Invalid`."""
    merchant_id = order.asked.merchant_id
    if order.caller.kind == "merchant":
        principal = order.caller.principal
        own_id = principal.subject_id
        assert own_id is not None
        if merchant_id not in (None, own_id):
            raise _wrong_merchant("merchant_not_yours", "a merchant creates jobs for itself alone: leave this out")
        return reference_data.Merchant(
            own_id, principal.subject_active, principal.location_ids, principal.default_location_id
        )
    if merchant_id is None:
        raise _wrong_merchant("merchant_required", "name the merchant that the job is for")
    found = merchants.get((order.caller.tenant_id, merchant_id))
    if found is None:
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")
    return found


def _wrong_merchant(code: str, message: str) -> Invalid:
    return invalid(Violation("/merchant_id", code, message))


def _new_actions(asked: JobIn, job_id: str, now: datetime) -> list[ActionState]:
    made = [new_action(action, job_id, asked.type, place, now) for place, action in enumerate(asked.actions, start=1)]
    return sorted(made, key=lambda action: action.position)


def _created(draft: NewJob, timezone: str) -> Written:
    job = draft.job.model_copy(update={"timezone": timezone})
    tenant_id = draft.caller.tenant_id
    data = JobChange(tenant_id=tenant_id, location_ids=locations_of(job), sequence=1, livemode=job.livemode, job=job)
    fact = JobCreated(
        id=draft.event_id, time=job.created_at, tenant_id=tenant_id, subject=job.id, sequence=1, data=data
    )
    return Written(job, (fact,))


async def _refusal(session: AsyncSession, draft: NewJob) -> WaybillError:
    """Why the insert found nothing to do: a location that is not active, else a reference that is taken."""
    job = draft.job
    refusal = await reference_data.check_locations(session, job.location_id, job.distribution_location_id)
    if refusal is not None:
        return refusal
    if job.reference_id is not None:
        taken = await reference_taken(session, draft.caller, job.merchant_id, job.reference_id)
        if taken is not None:
            return taken
    return Unavailable("what this job depends on has just changed", code="changed_meanwhile")


REFERENCE_INDEX = "uq_jobs_reference"
_LOCATION_FIELDS = ("location_id", "distribution_location_id")


class _CloneIn(JobIn):
    """A job as it was ordered, with as many actions as a job can come to have."""

    actions: list[ActionIn] = Field([], max_length=ACTIONS_MAX)


async def update(
    session: AsyncSession, caller: Caller, job_id: str, patch: Mapping[str, Any], if_match: IfMatch
) -> Job:
    """Apply a merge patch (`models.changes.JobPatch`); one that changes nothing leaves the job as it is.

    Raises `NotFound`, `PreconditionFailed`, `Invalid`, `NotEditable`, `JobErased` or `placing.ReferenceTaken`.
    """
    locked = await lock_for_update(session, caller, job_id, if_match)
    asked = apply_patch(JobIn, locked.before, patch)
    await _resolve_locations(session, locked.row, asked)
    changed = {name: value for name, value in asked.items() if value != getattr(locked.row, _column(name))}
    require_editable(locked.row.status, changed)
    if locked.row.erased_at is not None and PERSONAL_FIELDS & changed.keys():
        raise JobErased("the personal data of this job's customer was erased: it cannot be given anew")
    async with _reserve_reference(session, caller, locked.row.merchant_id, changed.get("reference_id")):
        for name, value in changed.items():
            setattr(locked.row, _column(name), value)
        return await save(session, caller, locked, "job.updated")


async def delete(session: AsyncSession, caller: Caller, job_id: str, if_match: IfMatch) -> None:
    """Delete a job and its actions, so that they can be restored; nothing when that was done before.

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
    """Bring a deleted job back with the actions that went with it; one that is not deleted stays as it is.

    Raises `NotFound`, `PreconditionFailed`, or `placing.ReferenceTaken` when another job has its reference by now.
    """
    try:
        locked = await lock_for_update(session, caller, job_id, if_match, deleted=True)
    except NotFound:
        return (await lock_for_update(session, caller, job_id, if_match)).before
    async with _reserve_reference(session, caller, locked.row.merchant_id, locked.row.reference_id):
        _set_deleted(locked, None)
        return await save(session, caller, locked, "job.restored")


async def clone(session: AsyncSession, caller: Caller, job_id: str, patch: Mapping[str, Any] | None) -> Job:
    """A new job that asks for the same, patched; with the same actions to be done, and without the reference.

    Raises `NotFound`, `JobErased`, or what keeps a new job from being created.
    """
    source = await queries.get(session, caller, job_id)
    if source.erased_at is not None:
        raise JobErased("the personal data of this job's customer was erased: it cannot be ordered anew")
    document = as_document(_CloneIn, source)
    document.pop("reference_id", None)
    document["actions"] = [as_document(ActionIn, action) for action in source.actions]
    (result,) = await create(session, [Order(caller, parse_document(_CloneIn, merge(document, patch or {})))])
    if isinstance(result, WaybillError):
        raise result
    for fact in result.facts:
        outbox.publish(session, fact)
    assert isinstance(result.answer, Job)
    return result.answer


def _column(name: str) -> str:
    """The attribute of the row that holds a field; `metadata` is a name of SQLAlchemy's own."""
    return "metadata_" if name == "metadata" else name


def _set_deleted(locked: LockedJob, at: datetime | None) -> None:
    locked.row.deleted_at = at
    for action in locked.actions.values():
        action.deleted_at = at


async def _resolve_locations(session: AsyncSession, row: JobRow, asked: dict[str, Any]) -> None:
    """Settle where the job is to be; what is not moved stays, whatever has become of it. Raises `Invalid`."""
    moved = {name: asked[name] for name in _LOCATION_FIELDS if name in asked and asked[name] != getattr(row, name)}
    if moved:
        merchants = await reference_data.get_merchants(session, {row.merchant_id})
        merchant = merchants.get((row.tenant_id, row.merchant_id))
        if merchant is None:
            raise Unavailable("this job's merchant is not known here yet", code="access_not_ready")
        distribution = moved.get("distribution_location_id")
        if "location_id" in moved:
            asked["location_id"] = reference_data.choose_location(merchant, moved["location_id"], distribution)
        elif violations := reference_data.foreign_locations(merchant, None, distribution):
            raise reference_data.not_allowed(violations)
        location = asked["location_id"] if "location_id" in moved and asked["location_id"] != row.location_id else None
        refusal = await reference_data.check_locations(session, location, distribution)
        if refusal is not None:
            raise refusal
    if "timezone" in asked and asked["timezone"] is None:
        asked["timezone"] = await reference_data.get_time_zone(session, asked.get("location_id", row.location_id))


@asynccontextmanager
async def _reserve_reference(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str | None
) -> AsyncIterator[None]:
    """A block in which a job is given this reference. Raises `placing.ReferenceTaken`, also when another takes it meanwhile."""
    if reference_id is None:
        yield
        return
    taken = await queries.reference_taken(session, caller, merchant_id, reference_id)
    if taken is not None:
        raise taken
    try:
        # The savepoint lets the transaction live on, to find out who was faster.
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        if REFERENCE_INDEX not in str(error.orig):
            raise
        taken = await queries.reference_taken(session, caller, merchant_id, reference_id)
        raise taken or Unavailable("what this change depends on has just changed", code="changed_meanwhile") from error
