"""Jobs: create, read, list. Which rows a caller sees is decided in one place, `visible`, and every query starts there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Select, any_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import domain
from jobs.models import Base, Job, JobFilters, JobIn, JobRow
from shared.auth.access import Access
from shared.auth.decisions import Caller, Standing
from shared.errors import Invalid, NotFound, Unavailable, Violation, WaybillError
from shared.events.jobs import ActionState, JobChange, JobCreated, JobState
from shared.http import Page, Paging, page
from shared.http.grouping import Written
from shared.ids import TypedId, from_uuid, known_uuid, new_id, to_uuid

_MERCHANTS = text(
    """
    SELECT subject_id, tenant_id, active, location_ids, default_location_id FROM access_subjects
    WHERE subject_id = ANY(CAST(:merchant_ids AS uuid[])) AND kind = 'merchant'
    """
)

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
            created_at timestamptz
        )
    ), job AS (
        INSERT INTO jobs (
            id, tenant_id, merchant_id, livemode, reference_id, status, type, location_id, distribution_location_id,
            scheduled_date, timezone, time_window, priority, short_description, contact, address, geo, balance_owed,
            instructions, invoices, barcodes, tags, metadata, created_by, sequence, version, created_at, updated_at
        )
        SELECT
            asked.id, asked.tenant_id, asked.merchant_id, asked.livemode, asked.reference_id, asked.status, asked.type,
            asked.location_id, asked.distribution_location_id, asked.scheduled_date,
            coalesce(asked.timezone, place.timezone), asked.time_window, asked.priority, asked.short_description,
            asked.contact, asked.address, asked.geo, asked.balance_owed, asked.instructions, asked.invoices,
            asked.barcodes, asked.tags, asked.metadata, asked.created_by, 1, 1, asked.created_at, asked.created_at
        FROM asked
        JOIN access_locations AS place ON place.location_id = asked.location_id AND place.active
        WHERE asked.distribution_location_id IS NULL OR EXISTS (
            SELECT FROM access_locations AS other
            WHERE other.location_id = asked.distribution_location_id AND other.active
        )
        ORDER BY asked.merchant_id, asked.livemode, asked.reference_id, asked.id
        ON CONFLICT (merchant_id, livemode, reference_id) WHERE reference_id IS NOT NULL DO NOTHING
        RETURNING id, timezone, created_at
    ), action AS (
        INSERT INTO actions (
            id, job_id, type, position, sku, description, quantity, unit, barcode, status, version, created_at, updated_at
        )
        SELECT
            asked.id, job.id, asked.type, asked.position, asked.sku, asked.description, asked.quantity, asked.unit,
            asked.barcode, asked.status, 1, job.created_at, job.created_at
        FROM jsonb_to_recordset(CAST(:actions AS jsonb)) AS asked (
            id uuid, job_id uuid, type text, position integer, sku text, description text, quantity integer, unit text,
            barcode text, status text
        )
        JOIN job ON job.id = asked.job_id
    )
    SELECT id, timezone FROM job
    """
)
_ACTIVE = text(
    "SELECT location_id, active FROM access_locations WHERE location_id = ANY(CAST(:location_ids AS uuid[]))"
)

_ACTIONS = Base.metadata.tables["actions"]
_ACTIONS_OF = (
    select(_ACTIONS)
    # One array, so that pages of every length share one prepared statement.
    .where(_ACTIONS.c.job_id == any_(bindparam("job_ids", type_=ARRAY(TypedId("job")))))
    .order_by(_ACTIONS.c.job_id, _ACTIONS.c.position, _ACTIONS.c.id)
)

_FROM_ROW = tuple(JobState.model_fields.keys() - {"object", "metadata", "actions"})
"""Fields of a job that its row holds under their own names."""
_NOT_WRITTEN = {"object", "actions", "allowed_transitions", "version", "updated_at"}
_ACTION_NOT_WRITTEN = {"object", "version", "created_at", "updated_at"}


def visible(caller: Caller) -> Select[JobRow]:
    """The jobs that exist for this caller: its tenant's, of its mode, and a merchant's own alone."""
    jobs = select(JobRow).where(col(JobRow.tenant_id) == caller.tenant_id, col(JobRow.livemode) == caller.livemode)
    if caller.row_scope == "own":
        jobs = jobs.where(col(JobRow.merchant_id) == caller.subject_id)
    return jobs


@dataclass(frozen=True, slots=True)
class Order:
    """What one caller asks to have created."""

    caller: Caller
    asked: JobIn


async def create(session: AsyncSession, access: Access, orders: Sequence[Order]) -> list[Written | WaybillError]:
    """New jobs with their actions, for several callers at once; for each order the job with its fact, or why there is none.

    Refusals: `Invalid` (merchant or location), `domain.MerchantInactive`, `domain.ReferenceTaken`, or what has become of the
    caller's access since it was admitted.
    """
    standings = await access.recheck(session, [order.caller for order in orders])
    named = await _named_merchants(session, orders)
    now = datetime.now(UTC)
    drafts = [_draft(order, standing, named, now) for order, standing in zip(orders, standings, strict=True)]
    timezones = await _insert(
        session, [(order, job) for order, job in zip(orders, drafts, strict=True) if isinstance(job, Job)]
    )
    results: list[Written | WaybillError] = []
    for order, job in zip(orders, drafts, strict=True):
        if not isinstance(job, Job):
            results.append(job)
        elif job.id not in timezones:
            results.append(await _why_not(session, order.caller, job))
        else:
            results.append(_created(order.caller, job.model_copy(update={"timezone": timezones[job.id]})))
    return results


async def get(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """One job. Raises `NotFound`, also for one that belongs to somebody else."""
    row = (await session.execute(visible(caller).where(col(JobRow.id) == job_id))).scalar_one_or_none()
    if row is None:
        raise NotFound("no such job", code="job_not_found")
    actions = await _actions_of(session, [row.id])
    return _view(row, actions.get(row.id, []))


async def listing(session: AsyncSession, caller: Caller, filters: JobFilters, paging: Paging) -> Page[Job]:
    """A page of jobs, newest first. Raises `Invalid` when a merchant filters by merchant."""
    if filters.merchant_id is not None and caller.row_scope == "own":
        message = "merchants see their own jobs: this filter is for administrators"
        raise Invalid("the request is not valid: see errors", Violation("", "not_allowed", message, "merchant_id"))
    # A cursor is good only for who got it: a position among one merchant's jobs means nothing among another's.
    whose = caller.subject_id if caller.row_scope == "own" else None
    rows = await page(
        session,
        _filtered(visible(caller), filters),
        paging,
        by=(col(JobRow.created_at), col(JobRow.id)),
        view=lambda row: row,
        filters=[whose, caller.livemode, filters.model_dump(mode="json")],
    )
    actions = await _actions_of(session, [row.id for row in rows.data])
    return Page(
        data=[_view(row, actions.get(row.id, [])) for row in rows.data],
        has_more=rows.has_more,
        next_cursor=rows.next_cursor,
    )


async def _named_merchants(session: AsyncSession, orders: Sequence[Order]) -> dict[tuple[str, str], domain.Merchant]:
    """The merchants that administrators named, by tenant and id."""
    named = {to_uuid(order.asked.merchant_id) for order in orders if order.asked.merchant_id is not None}
    if not named:
        return {}
    found = {}
    for row in await session.execute(_MERCHANTS, {"merchant_ids": list(named)}):
        merchant_id, default = from_uuid("mer", row.subject_id), row.default_location_id
        found[from_uuid("ten", row.tenant_id), merchant_id] = domain.Merchant(
            merchant_id,
            row.active,
            tuple(from_uuid("loc", location) for location in row.location_ids),
            None if default is None else from_uuid("loc", default),
        )
    return found


def _draft(
    order: Order,
    standing: Standing | WaybillError,
    named: Mapping[tuple[str, str], domain.Merchant],
    now: datetime,
) -> Job | WaybillError:
    """The job that an order asks for, not yet written, or why it is refused before anything is written."""
    if isinstance(standing, WaybillError):
        return standing
    try:
        merchant = _merchant_for(order, standing, named)
        location_id = domain.location_for(merchant, order.asked.location_id, order.asked.distribution_location_id)
        if not merchant.active:
            raise domain.MerchantInactive(merchant.id)
    except WaybillError as refusal:
        return refusal
    job_id = new_id("job")
    return Job(
        **order.asked.model_dump(exclude={"merchant_id", "location_id", "actions"}),
        id=job_id,
        merchant_id=merchant.id,
        location_id=location_id,
        status="new",
        actions=_new_actions(order.asked, job_id, now),
        allowed_transitions=domain.allowed_transitions("new"),
        created_by=order.caller.actor,
        livemode=order.caller.livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )


def _merchant_for(
    order: Order, standing: Standing, named: Mapping[tuple[str, str], domain.Merchant]
) -> domain.Merchant:
    """Whom a job is for: a merchant itself, else the one that was named. Raises `Invalid`."""
    merchant_id = order.asked.merchant_id
    if order.caller.kind == "merchant":
        own_id = standing.subject_id
        assert own_id is not None
        if merchant_id not in (None, own_id):
            raise _wrong_merchant("merchant_not_yours", "a merchant creates jobs for itself alone: leave this out")
        return domain.Merchant(own_id, standing.subject_active, standing.location_ids, standing.default_location_id)
    if merchant_id is None:
        raise _wrong_merchant("merchant_required", "name the merchant that the job is for")
    found = named.get((order.caller.tenant_id, merchant_id))
    if found is None:
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")
    return found


def _wrong_merchant(code: str, message: str) -> Invalid:
    return Invalid("the request is not valid: see errors", Violation("/merchant_id", code, message))


def _new_actions(asked: JobIn, job_id: str, now: datetime) -> list[ActionState]:
    made = [
        ActionState(
            id=new_id("act"),
            job_id=job_id,
            type=action.type or asked.type,
            position=action.position or place,
            sku=action.sku,
            description=action.description,
            quantity=action.quantity,
            unit=action.unit,
            barcode=action.barcode,
            status="undetermined",
            version=1,
            created_at=now,
            updated_at=now,
        )
        for place, action in enumerate(asked.actions, start=1)
    ]
    return sorted(made, key=lambda action: action.position)


async def _insert(session: AsyncSession, jobs: Sequence[tuple[Order, Job]]) -> dict[str, str]:
    """Write these jobs; the time zone of each that was written."""
    if not jobs:
        return {}
    written = await session.execute(
        _INSERT,
        {
            "jobs": json.dumps([_row(order.caller, job) for order, job in jobs], ensure_ascii=False),
            "actions": json.dumps(
                [_action_row(action) for _, job in jobs for action in job.actions], ensure_ascii=False
            ),
        },
    )
    return {from_uuid("job", row.id): row.timezone for row in written}


def _row(caller: Caller, job: Job) -> dict[str, Any]:
    """A job as the insert reads it."""
    distribution = job.distribution_location_id
    row = job.model_dump(mode="json", exclude_none=True, exclude=_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(job.id)),
        "tenant_id": str(known_uuid(caller.tenant_id)),
        "merchant_id": str(known_uuid(job.merchant_id)),
        "location_id": str(known_uuid(job.location_id)),
        "distribution_location_id": str(known_uuid(distribution)) if distribution else None,
    }


def _action_row(action: ActionState) -> dict[str, Any]:
    row = action.model_dump(mode="json", exclude_none=True, exclude=_ACTION_NOT_WRITTEN)
    return row | {"id": str(to_uuid(action.id)), "job_id": str(to_uuid(action.job_id))}


def _created(caller: Caller, job: Job) -> Written:
    locations = [job.location_id, *([job.distribution_location_id] if job.distribution_location_id else [])]
    change = JobChange(
        tenant_id=caller.tenant_id,
        location_ids=list(dict.fromkeys(locations)),
        sequence=1,
        livemode=job.livemode,
        job=job,
    )
    return Written(job, (JobCreated(tenant_id=caller.tenant_id, subject=job.id, sequence=1, data=change),))


async def _why_not(session: AsyncSession, caller: Caller, job: Job) -> WaybillError:
    """Why the insert found nothing to do: a location that is not active, else a reference that is taken."""
    asked = [job.location_id, *([job.distribution_location_id] if job.distribution_location_id else [])]
    rows = await session.execute(_ACTIVE, {"location_ids": [to_uuid(location) for location in asked]})
    active = {from_uuid("loc", row.location_id): row.active for row in rows}
    if any(location not in active for location in asked):
        # The merchant's facts name it, so it exists: its own are still on their way.
        return Unavailable("a location of this merchant is not known here yet", code="access_not_ready")
    refusal = domain.inactive(job.location_id, job.distribution_location_id, active)
    if refusal is not None:
        return refusal
    if job.reference_id is not None:
        same = visible(caller).where(
            col(JobRow.merchant_id) == job.merchant_id, col(JobRow.reference_id) == job.reference_id
        )
        existing = (await session.execute(same)).scalar_one_or_none()
        if existing is not None:
            return domain.ReferenceTaken(job.reference_id, existing.id)
    return Unavailable("what this job depends on has just changed", code="changed_meanwhile")


def _filtered(jobs: Select[JobRow], filters: JobFilters) -> Select[JobRow]:
    if filters.status:
        jobs = jobs.where(col(JobRow.status).in_(filters.status))
    if filters.type:
        jobs = jobs.where(col(JobRow.type).in_(filters.type))
    if filters.location_id:
        jobs = jobs.where(col(JobRow.location_id).in_(filters.location_id))
    if filters.reference_id is not None:
        jobs = jobs.where(col(JobRow.reference_id) == filters.reference_id)
    if filters.merchant_id is not None:
        jobs = jobs.where(col(JobRow.merchant_id) == filters.merchant_id)
    if filters.created_gte is not None:
        jobs = jobs.where(col(JobRow.created_at) >= filters.created_gte)
    if filters.created_lte is not None:
        jobs = jobs.where(col(JobRow.created_at) <= filters.created_lte)
    return jobs


async def _actions_of(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, list[ActionState]]:
    """The actions of these jobs, in their order, by job. Read as plain rows: a page can have thousands of them."""
    if not job_ids:
        return {}
    rows = (await session.execute(_ACTIONS_OF, {"job_ids": job_ids})).mappings()
    return {
        job_id: [ActionState(**row) for row in of_job]
        for job_id, of_job in groupby(rows, key=lambda row: row["job_id"])
    }


def _view(row: JobRow, actions: list[ActionState]) -> Job:
    return Job(
        **{name: getattr(row, name) for name in _FROM_ROW},
        metadata=row.metadata_,
        actions=actions,
        allowed_transitions=domain.allowed_transitions(row.status),
    )
