"""Updates, suspends and activates tenants."""

from datetime import UTC, datetime

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from identity import changes, rows
from identity.tenants import queries, rules
from identity.tenants.queries import lock_for_update, require_free_name, view
from identity.tenants.schemas import Tenant, TenantPatch
from identity.tenants.tables import TenantRow
from shared.api import IfMatch
from shared.audit import Actor
from shared.events import identity as events


async def update(session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    """Change the given fields of any tenant. Raises `NotFound`, `PreconditionFailed`, `AlreadyExists`, `TenantClosed`."""
    return await _update(session, actor, await lock_for_update(session, actor, tenant_id, if_match), patch)


async def update_own(session: AsyncSession, actor: Actor, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    """Change the given fields of the actor's tenant. Raises `PreconditionFailed`, `AlreadyExists`."""
    return await _update(session, actor, await queries.lock_own(session, actor, if_match), patch)


async def suspend(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """Refuse every caller of a tenant, in every service. Repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _set_status(session, actor, tenant_id, "suspended", events.TenantSuspended)


async def activate(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """End a suspension. Repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _set_status(session, actor, tenant_id, "active", events.TenantActivated)


async def close(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """Refuse every caller of a tenant for good. Repeating it changes nothing. Raises `NotFound`."""
    row = await lock_for_update(session, actor, tenant_id)
    if row.status != "closed":
        before = view(row)
        row.status = "closed"
        _publish_change(session, actor, events.TenantClosed, row, before)
    return view(row)


async def purge(session: AsyncSession, tenant_id: str) -> None:
    """Forget the name of a closed tenant, which another one may have from now on. The caller writes the audit event."""
    row = await queries.lock_by_id(session, tenant_id)
    row.name = f"closed {tenant_id}"
    row.name_key = rows.unique_key(row.name)
    row.purged_at = row.updated_at = datetime.now(UTC)
    row.version += 1
    publish(session, events.TenantUpdated, row)


def publish_update(session: AsyncSession, actor: Actor, row: TenantRow, before: BaseModel, after: BaseModel) -> None:
    """Raise the version of a locked tenant and publish its change, with the views that the audit event compares."""
    changes.publish_change(
        session, actor, events.TenantUpdated, row, subject=row.tenant_id, state=_state(row), before=before, after=after
    )


def publish_ownership(
    session: AsyncSession,
    actor: Actor,
    row: TenantRow,
    owner: tuple[events.UserState, int],
    former: tuple[events.UserState, int],
) -> None:
    """Give a locked tenant another owner, in one event with the former one; both with the versions that they have now."""
    before = view(row)
    row.owner_id = owner[0].user_id
    changes.publish_change(
        session,
        actor,
        events.OwnershipTransferred,
        row,
        subject=row.tenant_id,
        state=events.OwnershipState(
            tenant=_state(row),
            owner=owner[0],
            owner_version=owner[1],
            former_owner=former[0],
            former_owner_version=former[1],
        ),
        before=before,
        after=view(row),
    )


def publish(session: AsyncSession, event_type: type[events.TenantEvent], row: TenantRow) -> None:
    """Publish an event with the tenant's whole state."""
    changes.publish(session, event_type, row, subject=row.tenant_id, state=_state(row))


async def _update(session: AsyncSession, actor: Actor, row: TenantRow, patch: TenantPatch) -> Tenant:
    rules.check_not_closed(row.status)
    before = view(row)
    if patch.name is not None:
        await require_free_name(session, actor, patch.name, row.tenant_id)
        row.name = patch.name
        row.name_key = rows.unique_key(patch.name)
    row.timezone = patch.timezone or row.timezone
    row.job_review = row.job_review if patch.job_review is None else patch.job_review
    if view(row) != before:
        _publish_change(session, actor, events.TenantUpdated, row, before)
    return view(row)


async def _set_status(
    session: AsyncSession, actor: Actor, tenant_id: str, status: str, event_type: type[events.TenantEvent]
) -> Tenant:
    row = await lock_for_update(session, actor, tenant_id)
    if row.status != status:
        rules.check_status_change(row.status, status)
        before = view(row)
        row.status = status
        _publish_change(session, actor, event_type, row, before)
    return view(row)


def _publish_change(
    session: AsyncSession, actor: Actor, event_type: type[events.TenantEvent], row: TenantRow, before: Tenant
) -> None:
    changes.publish_change(
        session, actor, event_type, row, subject=row.tenant_id, state=_state(row), before=before, after=view(row)
    )


def _state(row: TenantRow) -> events.TenantState:
    return events.TenantState(
        tenant_id=row.tenant_id,
        name=row.name,
        status=row.status,
        country=row.country,
        timezone=row.timezone,
        currency=row.currency,
        test=row.test,
        trial_days=row.trial_days,
        job_review=row.job_review,
        owner_id=row.owner_id,
    )
