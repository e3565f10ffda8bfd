"""Begins revocations, and stores what replicas report of them.

All events that one transaction publishes and that end access are one revocation. Its row is written with them, its id is in each of them
and in the header of the answer. What a replica reports of a revocation that is not kept any more is ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from identity.revocations import rules
from identity.revocations.tables import RevocationRow
from shared.api import add_answer_header
from shared.audit import Actor
from shared.events import State
from shared.events.identity import IdentityEvent
from shared.events.receipts import ReplicaReported
from shared.ids import new_id, to_uuid
from shared.messaging import outbox

HEADER = "Revocation-Id"
_BEGUN = "revocation"

# Rows are locked in one order, so that two replicas that store the same reports cannot deadlock.
_STORE_REPLICAS = text(
    """
    INSERT INTO replicas (service, replica, started_at, last_heard_at, stopped_at)
    SELECT service, replica, started_at, least(heard_at, now()), CASE WHEN stopping THEN least(heard_at, now()) END
    FROM unnest(
        CAST(:services AS text[]), CAST(:replicas AS text[]), CAST(:started_at AS timestamptz[]),
        CAST(:heard_at AS timestamptz[]), CAST(:stopping AS boolean[])
    ) AS report (service, replica, started_at, heard_at, stopping)
    ORDER BY service, replica
    ON CONFLICT (service, replica) DO UPDATE
    SET started_at = EXCLUDED.started_at, last_heard_at = EXCLUDED.last_heard_at, stopped_at = EXCLUDED.stopped_at
    WHERE EXCLUDED.last_heard_at >= replicas.last_heard_at
    """
)
_STORE_APPLIED = text(
    """
    WITH stored AS (
        INSERT INTO revocation_acknowledgements (revocation_id, service, replica, event_id, applied_at)
        SELECT revocation_id, service, replica, event_id, applied_at
        FROM unnest(
            CAST(:revocations AS uuid[]), CAST(:services AS text[]), CAST(:replicas AS text[]), CAST(:events AS uuid[]),
            CAST(:applied_at AS timestamptz[])
        ) AS report (revocation_id, service, replica, event_id, applied_at)
        JOIN revocations USING (revocation_id)
        ORDER BY revocation_id, service, replica, event_id
        ON CONFLICT DO NOTHING
        RETURNING revocation_id, service, applied_at
    )
    SELECT service, revoked_at, applied_at FROM stored JOIN revocations USING (revocation_id)
    """
)
_DELETE_REVOCATIONS = text(
    """
    DELETE FROM revocations WHERE revocation_id IN (
        SELECT revocation_id FROM revocations WHERE revoked_at < :before ORDER BY revoked_at LIMIT :rows_max
    )
    """
)
_DELETE_REPLICAS = text(
    """
    DELETE FROM replicas WHERE (service, replica) IN (
        SELECT service, replica FROM replicas WHERE last_heard_at < :before ORDER BY last_heard_at LIMIT :rows_max
    )
    """
)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The revocation of a transaction: who revoked, and its first event."""

    revocation_id: str
    tenant_id: str | None
    revoked_by: str
    action: str
    target: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A replica of this service began to refuse so long after the revocation."""

    service: str
    seconds: float


def id_for(
    session: AsyncSession,
    actor: Actor,
    event_type: type[IdentityEvent],
    state: State,
    *,
    subject: str,
    tenant_id: str | None,
) -> str | None:
    """The id of this transaction's revocation, for an event that ends access; None for any other event."""
    if not rules.ends_access(event_type, state):
        return None
    begun: _Begun | None = session.info.get(_BEGUN)
    if begun is None:
        begun = _Begun(new_id("rev"), tenant_id, actor.id, event_type.type_name(), subject)
        session.info[_BEGUN] = begun
        add_answer_header(session, HEADER, begun.revocation_id)
    return begun.revocation_id


async def store_own(session: AsyncSession) -> None:
    """Hook before a commit: store the revocation of the transaction, if its events are published."""
    begun: _Begun | None = session.info.pop(_BEGUN, None)
    if begun is None:
        return
    event_count = sum(event.revocation_id == begun.revocation_id for event in outbox.pending(session))
    if event_count:
        row = {
            "revocation_id": begun.revocation_id,
            "tenant_id": begun.tenant_id,
            "revoked_by": begun.revoked_by,
            "action": begun.action,
            "target": begun.target,
            "event_count": event_count,
            "revoked_at": datetime.now(UTC),
        }
        await session.execute(insert(RevocationRow).values(row))


async def store_reports(session: AsyncSession, reports: Sequence[ReplicaReported]) -> list[Applied]:
    """Store what replicas report; returns what of it is new."""
    latest = {(one.data.service, one.data.replica): one for one in sorted(reports, key=lambda one: one.time)}
    if latest:
        await session.execute(
            _STORE_REPLICAS,
            {
                "services": [service for service, _ in latest],
                "replicas": [replica for _, replica in latest],
                "started_at": [one.data.started_at for one in latest.values()],
                "heard_at": [one.time for one in latest.values()],
                "stopping": [one.data.stopping for one in latest.values()],
            },
        )
    applied = [(one.data, entry) for one in reports for entry in one.data.applied]
    if not applied:
        return []
    stored = await session.execute(
        _STORE_APPLIED,
        {
            "revocations": [to_uuid(entry.revocation_id) for _, entry in applied],
            "services": [report.service for report, _ in applied],
            "replicas": [report.replica for report, _ in applied],
            "events": [to_uuid(entry.event_id) for _, entry in applied],
            "applied_at": [entry.applied_at for _, entry in applied],
        },
    )
    return [Applied(row.service, max(0.0, (row.applied_at - row.revoked_at).total_seconds())) for row in stored]


async def delete_old(session: AsyncSession, before: datetime, rows_max: int) -> None:
    """Delete revocations with their receipts, and replicas that were not heard of since, `rows_max` of each at most."""
    for statement in (_DELETE_REVOCATIONS, _DELETE_REPLICAS):
        await session.execute(statement, {"before": before, "rows_max": rows_max})
