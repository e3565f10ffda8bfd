"""Writes audit events, in the transaction of the change that they describe."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from identity.audit.tables import AuditRow
from shared.audit import Actor, Origin
from shared.audit.rules import differences
from shared.ids import new_id


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    target: str,
    *,
    before: BaseModel | None = None,
    after: BaseModel | None = None,
    tenant_id: str | None = None,
) -> None:
    """Write what an authenticated caller did to a record, given the API's views of it. Only the fields that differ are stored."""
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
    """Write an action of a person without a caller (a log-in), or of an operator's command. `actor` is (id, kind, via)."""
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
