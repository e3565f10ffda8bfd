"""Reads a revocation with its receipts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.revocations import rules
from identity.revocations.schemas import ReplicaReceipt, Revocation, RevocationLag, ServiceReceipt
from identity.revocations.tables import AcknowledgementRow, ReplicaRow, RevocationRow
from shared.audit import Actor
from shared.errors import NotFound

LAG_OF = timedelta(days=1)
LAG_REVOCATIONS_MAX = 20
_Applied = dict[tuple[str, str], list[datetime]]


async def get(session: AsyncSession, actor: Actor, revocation_id: str, *, max_staleness_seconds: float) -> Revocation:
    """A revocation of the actor's own, with what replicas have reported. Raises `NotFound`, also for those of others."""
    statement = select(RevocationRow).where(
        col(RevocationRow.revocation_id) == revocation_id, col(RevocationRow.revoked_by) == actor.id
    )
    missing = NotFound("no revocation of yours with this id in the last day", code="revocation_not_found")
    row = await rows.get_one(session, statement, missing)
    applied = await _applied(session, [revocation_id])
    return _view(row, await _replicas(session), applied[revocation_id], timedelta(seconds=max_staleness_seconds))


async def get_lag(session: AsyncSession, actor: Actor, *, max_staleness_seconds: float) -> RevocationLag:
    """How long the latest revocations of the actor's tenant took."""
    statement = select(RevocationRow).where(
        col(RevocationRow.tenant_id) == actor.tenant_id, col(RevocationRow.revoked_at) > datetime.now(UTC) - LAG_OF
    )
    latest = statement.order_by(col(RevocationRow.revoked_at).desc()).limit(LAG_REVOCATIONS_MAX)
    found = (await session.execute(latest)).scalars().all()
    applied = await _applied(session, [row.revocation_id for row in found])
    replicas, max_staleness = await _replicas(session), timedelta(seconds=max_staleness_seconds)
    views = [_view(row, replicas, applied[row.revocation_id], max_staleness) for row in found]
    return RevocationLag(
        revocations=len(views),
        incomplete=sum(not view.complete for view in views),
        applied_after_ms_max=max((view.applied_after_ms or 0 for view in views if view.complete), default=None),
    )


def _view(
    row: RevocationRow, replicas: Sequence[rules.Replica], applied: _Applied, max_staleness: timedelta
) -> Revocation:
    receipts = rules.receipts(row.revoked_at, row.event_count, replicas, applied, max_staleness=max_staleness)
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


async def _applied(session: AsyncSession, revocation_ids: Sequence[str]) -> Mapping[str, _Applied]:
    """By revocation since when each replica refuses what each event has ended."""
    statement = select(AcknowledgementRow).where(col(AcknowledgementRow.revocation_id).in_(revocation_ids))
    applied: dict[str, _Applied] = defaultdict(lambda: defaultdict(list))
    for row in (await session.execute(statement)).scalars():
        applied[row.revocation_id][row.service, row.replica].append(row.applied_at)
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
