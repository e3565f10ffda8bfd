"""Changes, suspends and activates tenants."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import audit
from identity.actors import Actor
from identity.tenants import queries, rules
from identity.tenants.queries import lock_for_update, require_free_name, view
from identity.tenants.rules import TenantClosed
from identity.tenants.schemas import Tenant, TenantPatch
from identity.tenants.tables import TenantRow
from shared.api import IfMatch
from shared.events import identity as facts
from shared.messaging import outbox


async def update(session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    """Change what the patch names of any tenant. Raises `NotFound`, `PreconditionFailed`, `NameTaken`."""
    return await _update(session, actor, await lock_for_update(session, actor, tenant_id), if_match, patch)


async def update_own(session: AsyncSession, actor: Actor, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    """Change what the patch names of the tenant that the caller acts in.

    Raises `PreconditionFailed`, `NameTaken`, and `Forbidden` when a test key would change a real tenant.
    """
    return await _update(session, actor, await queries.lock_own(session, actor), if_match, patch)


async def suspend(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """Stop everybody in a tenant, everywhere and at once; repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _set_status(session, actor, tenant_id, "suspended", facts.TenantSuspended)


async def activate(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """Let a suspended tenant go on; repeating it changes nothing. Raises `NotFound`, `TenantClosed`."""
    return await _set_status(session, actor, tenant_id, "active", facts.TenantActivated)


async def _update(session: AsyncSession, actor: Actor, row: TenantRow, if_match: IfMatch, patch: TenantPatch) -> Tenant:
    if_match.check(row.version)
    before = view(row)
    if patch.name is not None:
        await require_free_name(session, patch.name, row.tenant_id)
        row.name = patch.name
        row.name_key = rules.unique_key(patch.name)
    row.timezone = patch.timezone or row.timezone
    row.job_review = row.job_review if patch.job_review is None else patch.job_review
    if view(row) != before:
        _changed(session, actor, row, facts.TenantUpdated, before)
    return view(row)


async def _set_status(
    session: AsyncSession, actor: Actor, tenant_id: str, status: str, fact: type[facts.TenantEvent]
) -> Tenant:
    row = await lock_for_update(session, actor, tenant_id)
    if row.status == status:
        return view(row)
    if row.status == "closed":
        raise TenantClosed("a closed tenant stays closed", current_status=row.status, requested=status)
    before = view(row)
    row.status = status
    _changed(session, actor, row, fact, before)
    return view(row)


def _changed(
    session: AsyncSession, actor: Actor, row: TenantRow, fact: type[facts.TenantEvent], before: Tenant
) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    publish(session, fact, row)
    audit.record(
        session,
        actor,
        fact.type_name(),
        row.tenant_id,
        before=audit.snapshot(before),
        after=audit.snapshot(view(row)),
        tenant_id=row.tenant_id,
    )


def publish(session: AsyncSession, fact: type[facts.TenantEvent], row: TenantRow) -> None:
    state = facts.TenantState(
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
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.tenant_id, sequence=row.version, data=state),
    )
