"""Writes audit events in the transaction of the change that they describe."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from identity.actors import Actor, Origin
from identity.audit.rules import differences
from identity.audit.tables import AuditRow
from shared.ids import new_id


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    tenant_id: str | None = None,
) -> None:
    """Note a deed of an authenticated caller; of `before` and `after` only what differs is kept."""
    caller = actor.caller
    _add(
        session,
        actor.origin,
        tenant_id=tenant_id or caller.tenant_id_or_none,
        actor=(actor.id, caller.kind, caller.via),
        action=action,
        target=target,
        values=differences(before, after),
    )


def record_person(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    action: str,
    target: str,
) -> None:
    """Note a deed of somebody who is not a caller yet (a log-in), or of an operator. `actor`: id, kind, and by what means."""
    _add(session, origin, tenant_id=tenant_id, actor=actor, action=action, target=target, values=(None, None))


def _add(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    action: str,
    target: str,
    values: tuple[dict[str, Any] | None, dict[str, Any] | None],
) -> None:
    actor_id, actor_kind, via = actor
    before, after = values
    session.add(
        AuditRow(
            audit_id=new_id("aud"),
            tenant_id=tenant_id,
            created_at=datetime.now(UTC),
            actor=actor_id,
            actor_kind=actor_kind,
            via=via,
            action=action,
            target=target,
            address=origin.address,
            request_id=origin.request_id,
            before=before,
            after=after,
        )
    )
