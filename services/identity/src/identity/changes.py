"""The one shape of a change: raise the record's version, publish its whole state, write the audit event, in one transaction."""

from datetime import UTC, datetime
from typing import Protocol

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from identity import revocations
from shared import audit
from shared.audit import Actor
from shared.events import State
from shared.events.identity import IdentityEvent
from shared.messaging import outbox


class Record(Protocol):
    """A row whose changes are published."""

    version: int
    updated_at: datetime

    @property
    def tenant_id(self) -> str | None: ...


def publish(
    session: AsyncSession,
    event_type: type[IdentityEvent],
    record: Record,
    *,
    subject: str,
    state: State,
    revocation_id: str | None = None,
) -> None:
    """Publish an event about a record, with the record's id (`subject`) and whole state. Its sequence is the record's version."""
    outbox.publish(
        session,
        event_type(
            type=event_type.type_name(),
            tenant_id=record.tenant_id,
            subject=subject,
            sequence=record.version,
            data=state,
            revocation_id=revocation_id,
        ),
    )


def publish_change(
    session: AsyncSession,
    actor: Actor,
    event_type: type[IdentityEvent],
    record: Record,
    *,
    subject: str,
    state: State,
    before: BaseModel | None = None,
    after: BaseModel | None = None,
) -> None:
    """Raise the version by one, publish the event and write its audit event, with the API's view of the record before and after.

    An event that ends access belongs to a revocation (`identity.revocations`).
    """
    record.version += 1
    record.updated_at = datetime.now(UTC)
    revocation_id = revocations.id_for(session, actor, event_type, state, subject=subject, tenant_id=record.tenant_id)
    publish(session, event_type, record, subject=subject, state=state, revocation_id=revocation_id)
    audit.record(
        session, actor, event_type.type_name(), subject, before=before, after=after, tenant_id=record.tenant_id
    )


def publish_own_change(
    session: AsyncSession,
    event_type: type[IdentityEvent],
    record: Record,
    *,
    subject: str,
    state: State,
    before: BaseModel,
    after: BaseModel,
) -> None:
    """Like `publish_change`, for what the service has found out by itself."""
    record.version += 1
    record.updated_at = datetime.now(UTC)
    publish(session, event_type, record, subject=subject, state=state)
    assert record.tenant_id is not None
    audit.record_service(
        session, event_type.type_name(), subject, tenant_id=record.tenant_id, before=before, after=after
    )
