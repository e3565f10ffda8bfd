"""Writes audit events, in the transaction of the change that they describe."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from billing.audit.tables import AuditRow
from shared.audit import Actor


def record(
    session: AsyncSession,
    actor: Actor,
    *,
    action: str,
    tenant_id: str,
    subject: str,
    before: dict[str, Any],
    after: dict[str, Any],
    at: datetime,
) -> None:
    """Write an audit event. `before` and `after` hold JSON values without secrets."""
    session.add(
        AuditRow(
            tenant_id=tenant_id,
            actor=actor.id,
            address=actor.origin.address,
            action=action,
            subject=subject,
            before=before,
            after=after,
            at=at,
        )
    )
