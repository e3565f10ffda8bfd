"""Jobs: create and read. Many are created at once, with one statement, whoever asks for them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import places
from jobs.changes import locations_of
from jobs.domain import placing, terms
from jobs.domain.states import JobStatus, JobType, allowed_transitions
from jobs.models.inputs import ActionIn, Job, JobIn
from jobs.models.tables import JobRow
from jobs.rows import no_such_job, visible, with_actions
from shared.access.authentication import Access
from shared.access.principals import Caller, Principal
from shared.api.group_commit import Written
from shared.errors import Invalid, Unavailable, Violation, WaybillError
from shared.events.jobs import ActionState, JobChange, JobCreated
from shared.ids import from_uuid, known_uuid, new_id, to_uuid

# One statement for all jobs and actions of a group. It inserts no job unless its locations are active at this very moment and the
# merchant's reference is free; references are taken in one order, so that two groups cannot wait for each other.
_INSERT = text(
    """
    WITH asked AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS asked (
            id uuid, tenant_id uuid, merchant_id uuid, livemode boolean, reference_id text, status text, type text,
            location_id uuid, distribution_location_id uuid, scheduled_date date, timezone text, time_window jsonb,
            priority smallint, short_description text, contact jsonb, address jsonb, geo jsonb, balance_owed jsonb,
            instructions text, invoices text[], barcodes text[], tags text[], metadata jsonb, created_by text,
            created_at timestamptz, terms text[], parts text, customer_key text, event_id uuid
        )
    ), job AS (
        INSERT INTO jobs (
            id, tenant_id, merchant_id, livemode, reference_id, status, type, location_id, distribution_location_id,
            scheduled_date, timezone, time_window, priority, short_description, contact, address, geo, balance_owed,
            instructions, invoices, barcodes, tags, metadata, created_by, version, created_at, updated_at,
            status_changed_at, terms, parts, customer_key
        )
        SELECT
            asked.id, asked.tenant_id, asked.merchant_id, asked.livemode, asked.reference_id, asked.status, asked.type,
            asked.location_id, asked.distribution_location_id, asked.scheduled_date,
            coalesce(asked.timezone, place.timezone), asked.time_window, asked.priority, asked.short_description,
            asked.contact, asked.address, asked.geo, asked.balance_owed, asked.instructions, asked.invoices,
            asked.barcodes, asked.tags, asked.metadata, asked.created_by, 1, asked.created_at, asked.created_at,
            asked.created_at, array_to_tsvector(asked.terms), asked.parts, asked.customer_key
        FROM asked
        JOIN access_locations AS place ON place.location_id = asked.location_id AND place.active
        WHERE asked.distribution_location_id IS NULL OR EXISTS (
            SELECT FROM access_locations AS other
            WHERE other.location_id = asked.distribution_location_id AND other.active
        )
        ORDER BY asked.merchant_id, asked.livemode, asked.reference_id, asked.id
        ON CONFLICT (merchant_id, livemode, reference_id) WHERE reference_id IS NOT NULL AND deleted_at IS NULL
        DO NOTHING
        RETURNING id, tenant_id, merchant_id, livemode, timezone, created_by, created_at
    ), action AS (
        INSERT INTO actions (
            id, job_id, tenant_id, merchant_id, livemode, type, position, sku, description, quantity, unit, piece_count,
            value, weight_grams, volume_cubic_cm, handling_seconds, stop, invoice_number, barcode, external_reference_id,
            status, version, created_at, updated_at, terms, parts
        )
        SELECT
            asked.id, job.id, job.tenant_id, job.merchant_id, job.livemode, asked.type, asked.position, asked.sku,
            asked.description, asked.quantity, asked.unit, asked.piece_count, asked.value, asked.weight_grams,
            asked.volume_cubic_cm, asked.handling_seconds, asked.stop, asked.invoice_number, asked.barcode,
            asked.external_reference_id, asked.status, 1, job.created_at, job.created_at,
            array_to_tsvector(asked.terms), asked.parts
        FROM jsonb_to_recordset(CAST(:actions AS jsonb)) AS asked (
            id uuid, job_id uuid, type text, position integer, sku text, description text, quantity integer, unit text,
            piece_count integer, value jsonb, weight_grams bigint, volume_cubic_cm bigint, handling_seconds integer,
            stop jsonb, invoice_number text, barcode text, external_reference_id text, status text, terms text[],
            parts text
        )
        JOIN job ON job.id = asked.job_id
    ), history AS (
        INSERT INTO job_history (job_id, sequence, occurred_at, event_id, type, actor, changed_fields, changes)
        SELECT job.id, 1, job.created_at, asked.event_id, 'job.created', job.created_by, '{}', '{}'
        FROM job JOIN asked ON asked.id = job.id
    )
    SELECT id, timezone FROM job
    """
)
_NOT_WRITTEN = {"object", "actions", "allowed_transitions", "version", "updated_at", "status_reason", "assigned_to"}
_ACTION_NOT_WRITTEN = {"object", "version", "created_at", "updated_at", "outcome"}


@dataclass(frozen=True, slots=True)
class Order:
    """What one caller asks to have created."""

    caller: Caller
    asked: JobIn


@dataclass(frozen=True, slots=True)
class _Draft:
    """A job that may be written, and the id of the event that will tell of it."""

    caller: Caller
    job: Job
    event_id: str


async def create(session: AsyncSession, access: Access, orders: Sequence[Order]) -> list[Written | WaybillError]:
    """New jobs with their actions, for several callers at once; for each order the job with its fact, or why there is none.

    Refusals: `Invalid` (merchant or location), `placing.MerchantInactive`, `placing.ReferenceTaken`, or what has become of the
    caller's access since it was admitted.
    """
    principals = await access.recheck(session, [order.caller for order in orders])
    merchants = await places.merchants(session, {order.asked.merchant_id for order in orders} - {None})
    now = datetime.now(UTC)
    drafts = [_draft(order, principal, merchants, now) for order, principal in zip(orders, principals, strict=True)]
    timezones = await _insert(session, [draft for draft in drafts if isinstance(draft, _Draft)])
    results: list[Written | WaybillError] = []
    for draft in drafts:
        if not isinstance(draft, _Draft):
            results.append(draft)
        elif draft.job.id not in timezones:
            results.append(await _why_not(session, draft))
        else:
            results.append(_created(draft, timezones[draft.job.id]))
    return results


async def get(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """One job. Raises `NotFound`, also for one that belongs to somebody else."""
    row = (await session.execute(visible(caller).where(col(JobRow.id) == job_id))).scalar_one_or_none()
    if row is None:
        raise no_such_job()
    return (await with_actions(session, [row]))[0]


def _draft(
    order: Order,
    principal: Principal | WaybillError,
    merchants: Mapping[tuple[str, str], placing.Merchant],
    now: datetime,
) -> _Draft | WaybillError:
    """The job that an order asks for, not yet written, or why it is refused before anything is written."""
    if isinstance(principal, WaybillError):
        return principal
    try:
        merchant = _merchant_for(order, principal, merchants)
        location_id = placing.location_for(merchant, order.asked.location_id, order.asked.distribution_location_id)
        if not merchant.active:
            raise placing.MerchantInactive(merchant.id)
    except WaybillError as refusal:
        return refusal
    job_id = new_id("job")
    # Jobs of merchants wait for dispatch to accept them where the tenant asks for that.
    status: JobStatus = "staging" if principal.job_review and order.caller.kind == "merchant" else "new"
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
    return _Draft(order.caller, job, new_id("evt"))


def _merchant_for(
    order: Order, principal: Principal, merchants: Mapping[tuple[str, str], placing.Merchant]
) -> placing.Merchant:
    """Whom a job is for: a merchant itself, else the one that was named. Raises `Invalid`."""
    merchant_id = order.asked.merchant_id
    if order.caller.kind == "merchant":
        own_id = principal.subject_id
        assert own_id is not None
        if merchant_id not in (None, own_id):
            raise _wrong_merchant("merchant_not_yours", "a merchant creates jobs for itself alone: leave this out")
        return placing.Merchant(own_id, principal.subject_active, principal.location_ids, principal.default_location_id)
    if merchant_id is None:
        raise _wrong_merchant("merchant_required", "name the merchant that the job is for")
    found = merchants.get((order.caller.tenant_id, merchant_id))
    if found is None:
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")
    return found


def _wrong_merchant(code: str, message: str) -> Invalid:
    return Invalid("the request is not valid: see errors", Violation("/merchant_id", code, message))


def _new_actions(asked: JobIn, job_id: str, now: datetime) -> list[ActionState]:
    made = [new_action(action, job_id, asked.type, place, now) for place, action in enumerate(asked.actions, start=1)]
    return sorted(made, key=lambda action: action.position)


def new_action(asked: ActionIn, job_id: str, job_type: JobType, place: int, now: datetime) -> ActionState:
    """The action that was asked for; the job's type and the next place where it says nothing else."""
    return ActionState(
        **asked.model_dump(exclude={"type", "position"}),
        id=new_id("act"),
        job_id=job_id,
        type=asked.type or job_type,
        position=asked.position or place,
        status="undetermined",
        version=1,
        created_at=now,
        updated_at=now,
    )


async def _insert(session: AsyncSession, drafts: Sequence[_Draft]) -> dict[str, str]:
    """Write these jobs; the time zone of each that was written."""
    if not drafts:
        return {}
    actions = [_action_row(draft, action) for draft in drafts for action in draft.job.actions]
    written = await session.execute(
        _INSERT,
        {
            "jobs": json.dumps([_row(draft) for draft in drafts], ensure_ascii=False),
            "actions": json.dumps(actions, ensure_ascii=False),
        },
    )
    return {from_uuid("job", row.id): row.timezone for row in written}


def _row(draft: _Draft) -> dict[str, Any]:
    """A job as the insert reads it."""
    job = draft.job
    distribution = job.distribution_location_id
    row = job.model_dump(mode="json", exclude_none=True, exclude=_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(job.id)),
        "tenant_id": str(known_uuid(draft.caller.tenant_id)),
        "merchant_id": str(known_uuid(job.merchant_id)),
        "location_id": str(known_uuid(job.location_id)),
        "distribution_location_id": str(known_uuid(distribution)) if distribution else None,
        "terms": terms.job_terms(job, draft.caller.tenant_id),
        "parts": terms.job_parts(job),
        "customer_key": terms.customer_key(job.contact),
        "event_id": str(to_uuid(draft.event_id)),
    }


def _action_row(draft: _Draft, action: ActionState) -> dict[str, Any]:
    row = action.model_dump(mode="json", exclude_none=True, exclude=_ACTION_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(action.id)),
        "job_id": str(to_uuid(action.job_id)),
        "terms": terms.action_terms(action, draft.caller.tenant_id, draft.job.merchant_id),
        "parts": terms.action_parts(action),
    }


def _created(draft: _Draft, timezone: str) -> Written:
    job = draft.job.model_copy(update={"timezone": timezone})
    tenant_id = draft.caller.tenant_id
    data = JobChange(tenant_id=tenant_id, location_ids=locations_of(job), sequence=1, livemode=job.livemode, job=job)
    fact = JobCreated(
        id=draft.event_id, time=job.created_at, tenant_id=tenant_id, subject=job.id, sequence=1, data=data
    )
    return Written(job, (fact,))


async def _why_not(session: AsyncSession, draft: _Draft) -> WaybillError:
    """Why the insert found nothing to do: a location that is not active, else a reference that is taken."""
    job = draft.job
    refusal = await places.refusal(session, job.location_id, job.distribution_location_id)
    if refusal is not None:
        return refusal
    if job.reference_id is not None:
        taken = await reference_taken(session, draft.caller, job.merchant_id, job.reference_id)
        if taken is not None:
            return taken
    return Unavailable("what this job depends on has just changed", code="changed_meanwhile")


async def reference_taken(
    session: AsyncSession, caller: Caller, merchant_id: str, reference_id: str
) -> placing.ReferenceTaken | None:
    """What to say when the merchant already has a job with this reference; None when it is free."""
    same = visible(caller).where(col(JobRow.merchant_id) == merchant_id, col(JobRow.reference_id) == reference_id)
    existing = (await session.execute(same)).scalar_one_or_none()
    return None if existing is None else placing.ReferenceTaken(reference_id, existing.id)
