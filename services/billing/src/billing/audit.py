"""The trail of what was changed by hand: written with the change, so that neither exists without the other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import AuditRow


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change: the id of a person or key, and the network address."""

    id: str
    address: str | None


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
    """Write one entry in this transaction. `before` and `after` are JSON and hold no secrets."""
    session.add(
        AuditRow(
            tenant_id=tenant_id,
            actor=actor.id,
            address=actor.address,
            action=action,
            subject=subject,
            before=before,
            after=after,
            at=at,
        )
    )
