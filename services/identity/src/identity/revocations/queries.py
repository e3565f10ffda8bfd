"""Reads a revocation with its receipts."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.revocations import rules
from identity.revocations.schemas import ReplicaReceipt, Revocation, ServiceReceipt
from identity.revocations.tables import AcknowledgementRow, ReplicaRow, RevocationRow
from shared.audit import Actor
from shared.errors import NotFound


async def get(session: AsyncSession, actor: Actor, revocation_id: str, *, max_staleness_seconds: float) -> Revocation:
    """A revocation of the actor's own, with what replicas have reported. Raises `NotFound`, also for those of others."""
    statement = select(RevocationRow).where(
        col(RevocationRow.revocation_id) == revocation_id, col(RevocationRow.revoked_by) == actor.id
    )
    missing = NotFound("no revocation of yours with this id in the last day", code="revocation_not_found")
    row = await rows.get_one(session, statement, missing)
    receipts = rules.receipts(
        row.revoked_at,
        row.event_count,
        await _replicas(session),
        await _applied(session, revocation_id),
        max_staleness=timedelta(seconds=max_staleness_seconds),
    )
    services = [_service(row, service, found) for service, found in receipts.items()]
    complete = all(service.complete for service in services)
    return Revocation(
        id=row.revocation_id,
        tenant_id=row.tenant_id,
        action=row.action,
        target=row.target,
        revoked_at=row.revoked_at,
        complete=complete,
        applied_after_ms=max(service.applied_after_ms or 0 for service in services) if complete else None,
        services=services,
    )


async def _replicas(session: AsyncSession) -> list[rules.Replica]:
    known = (await session.execute(select(ReplicaRow).order_by(ReplicaRow.replica))).scalars()
    return [rules.Replica(row.service, row.replica, row.started_at, row.last_heard_at, row.stopped_at) for row in known]


async def _applied(session: AsyncSession, revocation_id: str) -> dict[tuple[str, str], list[datetime]]:
    statement = select(AcknowledgementRow).where(col(AcknowledgementRow.revocation_id) == revocation_id)
    applied: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for row in (await session.execute(statement)).scalars():
        applied[row.service, row.replica].append(row.applied_at)
    return applied


def _service(row: RevocationRow, service: str, found: Sequence[rules.ReplicaReceipt]) -> ServiceReceipt:
    replicas = [
        ReplicaReceipt(
            replica=receipt.replica.name,
            state=receipt.state,
            applied_after_ms=None
            if receipt.applied_at is None
            else rules.milliseconds_after(row.revoked_at, receipt.applied_at),
            last_heard_at=receipt.replica.last_heard_at,
        )
        for receipt in found
    ]
    complete = rules.is_complete(found)
    return ServiceReceipt(
        service=service,
        complete=complete,
        applied_after_ms=max(one.applied_after_ms or 0 for one in replicas) if complete else None,
        replicas=replicas,
    )
