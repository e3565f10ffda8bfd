"""The list of audit events."""

from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.audit.schemas import AuditEvent, AuditFilters
from identity.audit.tables import AuditRow
from shared.api import Page, Paging, page, where_equal
from shared.audit import Actor


async def list_events(session: AsyncSession, actor: Actor, filters: AuditFilters, paging: Paging) -> Page[AuditEvent]:
    """The audit events of the actor's tenant, newest first."""
    equal = {
        col(AuditRow.tenant_id): actor.tenant_id,
        col(AuditRow.service): filters.service,
        col(AuditRow.actor): filters.actor,
        col(AuditRow.action): filters.action,
        col(AuditRow.target): filters.target,
    }
    statement = where_equal(select(AuditRow), equal)
    if filters.created_at_gte is not None:
        statement = statement.where(col(AuditRow.created_at) >= filters.created_at_gte)
    if filters.created_at_lte is not None:
        statement = statement.where(col(AuditRow.created_at) <= filters.created_at_lte)
    order = (col(AuditRow.created_at), col(AuditRow.audit_id))
    return await page(session, statement, paging, by=order, view=view, filters=asdict(filters))


def view(row: AuditRow) -> AuditEvent:
    """An audit event as the API shows it."""
    return AuditEvent(
        id=row.audit_id,
        service=row.service,
        tenant_id=row.tenant_id,
        created_at=row.created_at,
        actor=row.actor,
        actor_kind=row.actor_kind,
        via=row.via,
        credential_id=row.credential_id,
        action=row.action,
        target=row.target,
        address=row.address,
        request_id=row.request_id,
        before=row.before,
        after=row.after,
    )
