"""Writes the audit trail."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from webhooks.audit.tables import AuditRow


def record(session: AsyncSession, caller: Caller, action: str, subject: str, now: datetime) -> None:
    """Store who did what to which subject, in the transaction of the change."""
    session.add(AuditRow(tenant_id=caller.tenant_id, actor=caller.actor, action=action, subject=subject, at=now))
