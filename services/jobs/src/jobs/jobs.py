"""Jobs: create, read, list. Which rows a caller sees is decided in one place, `visible`, and every query starts there."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Select, any_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import domain
from jobs.models import Base, Job, JobFilters, JobIn, JobRow
from shared import outbox
from shared.auth.access import Access
from shared.auth.decisions import Caller, Standing
from shared.errors import Invalid, NotFound, Unavailable, Violation, WaybillError
from shared.events import State
from shared.events.jobs import ActionState, JobChange, JobCreated, JobState
from shared.http import Page, Paging, page
from shared.ids import TypedId, from_uuid, new_id, to_uuid

_MERCHANT = text(
    """
    SELECT active, location_ids, default_location_id FROM access_subjects
    WHERE subject_id = :merchant_id AND tenant_id = :tenant_id AND kind = 'merchant'
    """
)

# One statement for the job and its actions, which inserts nothing unless the locations are active at this very moment and the
# merchant's reference is free.
_INSERT = text(
    """
    WITH job AS (
        INSERT INTO jobs (
            id, tenant_id, merchant_id, livemode, reference_id, status, type, location_id, distribution_location_id,
            scheduled_date, timezone, time_window, priority, short_description, contact, address, geo, balance_owed,
            instructions, invoices, barcodes, tags, metadata, created_by, sequence, version, created_at, updated_at
        )
        SELECT
            CAST(:id AS uuid), CAST(:tenant_id AS uuid), CAST(:merchant_id AS uuid), CAST(:livemode AS boolean),
            CAST(:reference_id AS text), CAST(:status AS text), CAST(:type AS text), place.location_id,
            CAST(:distribution_location_id AS uuid), CAST(:scheduled_date AS date),
            coalesce(CAST(:timezone AS text), place.timezone), CAST(:time_window AS jsonb), CAST(:priority AS smallint),
            CAST(:short_description AS text), CAST(:contact AS jsonb), CAST(:address AS jsonb), CAST(:geo AS jsonb),
            CAST(:balance_owed AS jsonb), CAST(:instructions AS text), CAST(:invoices AS text[]), CAST(:barcodes AS text[]),
            CAST(:tags AS text[]), CAST(:metadata AS jsonb), CAST(:created_by AS text), 1, 1,
            CAST(:now AS timestamptz), CAST(:now AS timestamptz)
        FROM access_locations AS place
        WHERE place.location_id = CAST(:location_id AS uuid) AND place.active AND (
            CAST(:distribution_location_id AS uuid) IS NULL
            OR EXISTS (
                SELECT FROM access_locations AS other
                WHERE other.location_id = CAST(:distribution_location_id AS uuid) AND other.active
            )
        )
        ON CONFLICT (merchant_id, livemode, reference_id) WHERE reference_id IS NOT NULL DO NOTHING
        RETURNING id, timezone, created_at
    ), action AS (
        INSERT INTO actions (
            id, job_id, type, position, sku, description, quantity, unit, barcode, status, version, created_at, updated_at
        )
        SELECT
            asked.id, job.id, asked.type, asked.position, asked.sku, asked.description, asked.quantity, asked.unit,
            asked.barcode, 'undetermined', 1, job.created_at, job.created_at
        FROM job, unnest(
            CAST(:action_ids AS uuid[]), CAST(:action_types AS text[]), CAST(:action_positions AS integer[]),
            CAST(:action_skus AS text[]), CAST(:action_descriptions AS text[]), CAST(:action_quantities AS integer[]),
            CAST(:action_units AS text[]), CAST(:action_barcodes AS text[])
        ) AS asked (id, type, position, sku, description, quantity, unit, barcode)
    )
    SELECT timezone FROM job
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


def visible(caller: Caller) -> Select[JobRow]:
    """The jobs that exist for this caller: its tenant's, of its mode, and a merchant's own alone."""
    jobs = select(JobRow).where(col(JobRow.tenant_id) == caller.tenant_id, col(JobRow.livemode) == caller.livemode)
    if caller.row_scope == "own":
        jobs = jobs.where(col(JobRow.merchant_id) == caller.subject_id)
    return jobs


async def create(session: AsyncSession, access: Access, caller: Caller, asked: JobIn) -> Job:
    """A new job with its actions.

    Raises `Invalid` (merchant or location), `domain.MerchantInactive`, `domain.ReferenceTaken`, or what has become of the caller's
    access since it was admitted.
    """
    standing = await access.recheck(session, caller)
    merchant = await _merchant_for(session, caller, standing, asked.merchant_id)
    location_id = domain.location_for(merchant, asked.location_id, asked.distribution_location_id)
    if not merchant.active:
        raise domain.MerchantInactive(merchant.id)
    now = datetime.now(UTC)
    job = Job(
        **asked.model_dump(exclude={"merchant_id", "location_id", "actions"}),
        id=new_id("job"),
        merchant_id=merchant.id,
        location_id=location_id,
        status="new",
        allowed_transitions=domain.allowed_transitions("new"),
        created_by=caller.actor,
        livemode=caller.livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )
    job = job.model_copy(update={"actions": _new_actions(asked, job)})
    timezone = (await session.execute(_INSERT, _columns(caller, job))).scalar_one_or_none()
    if timezone is None:
        raise await _why_not(session, caller, job)
    job = job.model_copy(update={"timezone": timezone})
    locations = [job.location_id, *([job.distribution_location_id] if job.distribution_location_id else [])]
    change = JobChange(
        tenant_id=caller.tenant_id,
        location_ids=list(dict.fromkeys(locations)),
        sequence=1,
        livemode=job.livemode,
        job=job,
    )
    outbox.publish(session, JobCreated(tenant_id=caller.tenant_id, subject=job.id, sequence=1, data=change))
    return job


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


async def _merchant_for(
    session: AsyncSession, caller: Caller, standing: Standing, merchant_id: str | None
) -> domain.Merchant:
    """Whom a job is for: a merchant itself, else the one that was named."""
    if caller.kind == "merchant":
        own_id = standing.subject_id
        assert own_id is not None
        if merchant_id not in (None, own_id):
            raise _wrong_merchant("merchant_not_yours", "a merchant creates jobs for itself alone: leave this out")
        return domain.Merchant(own_id, standing.subject_active, standing.location_ids, standing.default_location_id)
    if merchant_id is None:
        raise _wrong_merchant("merchant_required", "name the merchant that the job is for")
    named = {"merchant_id": to_uuid(merchant_id), "tenant_id": to_uuid(caller.tenant_id)}
    row = (await session.execute(_MERCHANT, named)).one_or_none()
    if row is None:
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")
    default = row.default_location_id
    return domain.Merchant(
        merchant_id,
        row.active,
        tuple(from_uuid("loc", location) for location in row.location_ids),
        None if default is None else from_uuid("loc", default),
    )


def _wrong_merchant(code: str, message: str) -> Invalid:
    return Invalid("the request is not valid: see errors", Violation("/merchant_id", code, message))


def _new_actions(asked: JobIn, job: Job) -> list[ActionState]:
    made = [
        ActionState(
            id=new_id("act"),
            job_id=job.id,
            type=action.type or asked.type,
            position=action.position or place,
            sku=action.sku,
            description=action.description,
            quantity=action.quantity,
            unit=action.unit,
            barcode=action.barcode,
            status="undetermined",
            version=1,
            created_at=job.created_at,
            updated_at=job.created_at,
        )
        for place, action in enumerate(asked.actions, start=1)
    ]
    return sorted(made, key=lambda action: action.position)


def _columns(caller: Caller, job: Job) -> dict[str, Any]:
    """Parameters of the insert, in the database's own types: this path is too hot for a type decorator per value."""
    distribution = job.distribution_location_id
    return {
        "id": to_uuid(job.id),
        "tenant_id": to_uuid(caller.tenant_id),
        "merchant_id": to_uuid(job.merchant_id),
        "livemode": job.livemode,
        "reference_id": job.reference_id,
        "status": job.status,
        "type": job.type,
        "location_id": to_uuid(job.location_id),
        "distribution_location_id": to_uuid(distribution) if distribution else None,
        "scheduled_date": job.scheduled_date,
        "timezone": job.timezone,
        "time_window": _json(job.time_window),
        "priority": job.priority,
        "short_description": job.short_description,
        "contact": _json(job.contact),
        "address": _json(job.address),
        "geo": _json(job.geo),
        "balance_owed": _json(job.balance_owed),
        "instructions": job.instructions,
        "invoices": job.invoices,
        "barcodes": job.barcodes,
        "tags": job.tags,
        "metadata": json.dumps(job.metadata, ensure_ascii=False),
        "created_by": job.created_by,
        "now": job.created_at,
        "action_ids": [to_uuid(action.id) for action in job.actions],
        "action_types": [action.type for action in job.actions],
        "action_positions": [action.position for action in job.actions],
        "action_skus": [action.sku for action in job.actions],
        "action_descriptions": [action.description for action in job.actions],
        "action_quantities": [action.quantity for action in job.actions],
        "action_units": [action.unit for action in job.actions],
        "action_barcodes": [action.barcode for action in job.actions],
    }


def _json(state: State | None) -> str | None:
    return None if state is None else state.model_dump_json(exclude_none=True)


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
