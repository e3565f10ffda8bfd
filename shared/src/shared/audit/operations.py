"""Publishes audit events, in the transaction of the change that they describe."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from shared.audit.actors import Actor, Origin
from shared.audit.rules import Values, differences
from shared.events.audit import AuditRecorded, AuditState
from shared.ids import new_id
from shared.messaging import outbox
from shared.postgres.database import application_of

NOWHERE = Origin(address="", request_id="")
"""The origin of actions that no request asked for."""


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    target: str,
    *,
    before: Values = None,
    after: Values = None,
    tenant_id: str | None = None,
) -> None:
    """Publish what a caller did to a record, with the fields that differ between its views before and after.

    `tenant_id` is the record's tenant, where it may differ from the caller's.
    """
    caller = actor.caller
    _publish(
        session,
        actor.origin,
        tenant_id=tenant_id or caller.tenant_id_or_none,
        actor=(actor.id, caller.kind, caller.via),
        credential_id=caller.credential_id,
        action=action,
        target=target,
        values=(before, after),
    )


def record_person(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    action: str,
    target: str,
    after: Values = None,
) -> None:
    """Publish an action of a person who is no caller (a log-in), or of an operator's command. `actor` is (id, kind, via)."""
    _publish(
        session,
        origin,
        tenant_id=tenant_id,
        actor=actor,
        credential_id=None,
        action=action,
        target=target,
        values=(None, after),
    )


def record_service(
    session: AsyncSession, action: str, target: str, *, tenant_id: str, before: Values = None, after: Values = None
) -> None:
    """Publish what the service did by itself, at an instant or after what others did."""
    _publish(
        session,
        NOWHERE,
        tenant_id=tenant_id,
        actor=(application_of(session), "service", "service"),
        credential_id=None,
        action=action,
        target=target,
        values=(before, after),
    )


def _publish(
    session: AsyncSession,
    origin: Origin,
    *,
    tenant_id: str | None,
    actor: tuple[str, str, str],
    credential_id: str | None,
    action: str,
    target: str,
    values: tuple[Values, Values],
) -> None:
    actor_id, actor_kind, via = actor
    before, after = differences(*values)
    state = AuditState(
        audit_id=new_id("aud"),
        service=application_of(session),
        tenant_id=tenant_id,
        at=datetime.now(UTC),
        actor=actor_id,
        actor_kind=actor_kind,
        via=via,
        credential_id=credential_id,
        address=origin.address,
        request_id=origin.request_id,
        action=action,
        target=target,
        before=before,
        after=after,
    )
    outbox.publish(session, AuditRecorded(tenant_id=tenant_id, subject=target, sequence=0, data=state))
