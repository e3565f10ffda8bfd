"""Replays: created, listed and cancelled by administrators; `webhooks.replays.worker` carries them out.

The row of a replay has its progress. It queues ordinary deliveries: cancelling a replay leaves those in the queue.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared import audit, tasks
from shared.access.principals import Caller
from shared.api import Page, Paging, page, where_equal
from shared.audit import Actor
from shared.errors import Conflict, Forbidden, NotFound, Violation
from shared.ids import new_id, to_uuid
from shared.postgres.advisory_locks import KeyedAdvisoryLock, lock_keys
from shared.tasks import NewTask
from webhooks import endpoints
from webhooks.deliveries import DeliveryRow
from webhooks.endpoints import REPLAY, EndpointEnabled, EndpointPolicy, visible_to
from webhooks.postgres import made_at
from webhooks.replays.schemas import DeliveriesToReplay, Replay, ReplayIn, ReplayKind, ReplayStatus
from webhooks.replays.tables import ReplayRow

REPLAY_STEP = "replay_step"
"""The kind of the task of a replay; its key is the replay's id."""
OVERHANG = timedelta(seconds=5)
"""A replay of missed events starts this long before the endpoint was disabled and ends this long after it was enabled: events that were
stored at those moments may have been matched without it. Events that were matched with it have a delivery and are not sent again."""
SWITCHED_OFF = ("endpoint_disabled", "gone")
"""Failures because the endpoint was disabled or its receiver gone, not because of the event: a replay of `missing` events sends these
deliveries again."""


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """What the operator allows."""

    running_max: int
    """Replays of one tenant that may run at once."""
    rate_per_second: float
    """Deliveries per second of a replay that sets no rate."""
    kept: timedelta
    """Events and deliveries are stored for so long."""


async def create(session: AsyncSession, limits: ReplayLimits, actor: Actor, wanted: ReplayIn, now: datetime) -> Replay:
    """Create a replay, which starts in the background.

    Raises `NotFound`, `Invalid`, or `Conflict` (endpoint disabled, too many replays).
    """
    until = min(wanted.until or now, now)
    # Partitions are deleted as whole days.
    since = wanted.since or min(now, until) - limits.kept - timedelta(days=1)
    endpoints.require_valid(_violations(wanted, since, until), "replay")
    if wanted.endpoint_id is not None:
        endpoint = await endpoints.get_row(session, actor.caller, wanted.endpoint_id)
        if not endpoint.enabled and not wanted.dry_run:
            raise Conflict(
                "the endpoint is disabled: enable it first", code="endpoint_disabled", current_status="disabled"
            )
    row = _new(
        actor,
        now,
        endpoint_id=wanted.endpoint_id,
        kind=wanted.kind,
        since=since,
        until=until,
        event_types=None if wanted.event_types is None else list(dict.fromkeys(wanted.event_types)),
        deliveries=None if wanted.deliveries is None else wanted.deliveries.model_dump(exclude_none=True),
        dry_run=wanted.dry_run,
        rate_per_second=wanted.rate_per_second or limits.rate_per_second,
    )
    return await _start(session, limits, actor, row)


async def replay_missed(
    session: AsyncSession, limits: ReplayLimits, actor: Actor, endpoint_id: str, since: datetime, now: datetime
) -> Replay:
    """Create a replay of the events that an endpoint missed while it was disabled. Raises `Forbidden` without permission, or `Conflict`."""
    if not actor.caller.may(REPLAY):
        raise Forbidden(f"the permission {REPLAY} is missing", code="permission_missing", required=[REPLAY])
    row = _new(
        actor,
        now,
        endpoint_id=endpoint_id,
        kind="missing",
        since=min(since - OVERHANG, await _first_abandoned(session, endpoint_id, since) or now),
        until=now + OVERHANG,
        untried_since=since - OVERHANG,
        dry_run=False,
        rate_per_second=limits.rate_per_second,
    )
    return await _start(session, limits, actor, row)


async def enable_endpoint(
    session: AsyncSession,
    policy: EndpointPolicy,
    limits: ReplayLimits,
    actor: Actor,
    endpoint_id: str,
    *,
    with_missed: bool,
    now: datetime,
) -> EndpointEnabled:
    """The endpoint, enabled; with `with_missed` the events from the time when it was disabled are sent, too.

    Raises `NotFound`, `Forbidden` for callers who may not replay, `Conflict` when too many replays are running.
    """
    shown, disabled_since = await endpoints.enable(session, policy, actor, endpoint_id, now)
    replay = None
    if with_missed and disabled_since is not None:
        replay = await replay_missed(session, limits, actor, endpoint_id, disabled_since, now)
    return EndpointEnabled(**shown.model_dump(), replay_id=replay and replay.id)


def _violations(wanted: ReplayIn, since: datetime, until: datetime) -> Iterator[Violation]:
    if since >= until:
        yield Violation("/since", "range_empty", "must be earlier than until, and in the past")
    if wanted.kind == "deliveries":
        if wanted.event_types is not None:
            yield Violation("/event_types", "not_for_kind", "is for other kinds: use deliveries.event_type")
        return
    if wanted.endpoint_id is None:
        yield Violation("/endpoint_id", "missing", "is needed for this kind")
    if wanted.since is None:
        yield Violation("/since", "missing", "is needed for this kind")
    if wanted.deliveries is not None:
        yield Violation("/deliveries", "not_for_kind", "is for the kind deliveries alone")


def _new(actor: Actor, now: datetime, **wanted: Any) -> ReplayRow:
    return ReplayRow(
        id=new_id("rpl"),
        tenant_id=actor.tenant_id,
        livemode=actor.livemode,
        status="running",
        created_by=actor.id,
        version=1,
        created_at=now,
        updated_at=now,
        **wanted,
    )


async def list_replays(
    session: AsyncSession, caller: Caller, paging: Paging, *, endpoint_id: str | None, status: ReplayStatus | None
) -> Page[Replay]:
    """The caller's replays, newest first."""
    equal = {col(ReplayRow.endpoint_id): endpoint_id, col(ReplayRow.status): status}
    statement = where_equal(select(ReplayRow).where(visible_to(caller, ReplayRow)), equal)
    filters = {"endpoint_id": endpoint_id, "status": status, "livemode": caller.livemode}
    return await page(session, statement, paging, by=(col(ReplayRow.id),), view=_view, filters=filters)


async def get(session: AsyncSession, caller: Caller, replay_id: str) -> Replay:
    """One replay with its progress. Raises `NotFound`."""
    return _view(await _get_row(session, caller, replay_id))


async def cancel(session: AsyncSession, actor: Actor, replay_id: str, now: datetime) -> Replay:
    """Cancel a replay; repeating this changes nothing. Raises `NotFound`, or `Conflict` if it has completed or failed."""
    row = await _get_row(session, actor.caller, replay_id, for_update=True)
    if row.status == "cancelled":
        return _view(row)
    if row.status != "running":
        raise Conflict(
            "this replay has ended", code="replay_ended", current_status=row.status, allowed_transitions=list[str]()
        )
    before = _view(row)
    finish(row, "cancelled", now)
    row.version += 1
    await tasks.cancel(session, REPLAY_STEP, [row.id])
    after = _view(row)
    audit.record(session, actor, "replay.cancelled", row.id, before=before, after=after)
    return after


def finish(row: ReplayRow, status: ReplayStatus, now: datetime, failure: str | None = None) -> None:
    """End a replay with this status."""
    row.status = status
    row.failure = failure
    row.finished_at = now
    row.updated_at = now


async def _start(session: AsyncSession, limits: ReplayLimits, actor: Actor, row: ReplayRow) -> Replay:
    await lock_keys(session, KeyedAdvisoryLock.WEBHOOKS_REPLAY_LIMIT, [actor.tenant_id])
    running = select(func.count()).where(
        col(ReplayRow.tenant_id) == actor.tenant_id, col(ReplayRow.status) == "running"
    )
    if (await session.execute(running)).scalar_one() >= limits.running_max:
        raise Conflict(
            f"a tenant may have {limits.running_max} replays running: wait, or cancel one", code="replay_limit_reached"
        )
    session.add(row)
    await tasks.schedule(session, [NewTask(REPLAY_STEP, row.id)])
    shown = _view(row)
    audit.record(session, actor, "replay.ordered", row.id, after=shown)
    return shown


async def _first_abandoned(session: AsyncSession, endpoint_id: str, since: datetime) -> datetime | None:
    """The instant of the earliest event whose delivery was given up while the endpoint was disabled; it may be older than `since`."""
    statement = (
        select(col(DeliveryRow.event_id))
        .where(
            col(DeliveryRow.endpoint_id) == endpoint_id,
            col(DeliveryRow.status) == "failed",
            col(DeliveryRow.failure).in_(SWITCHED_OFF),
            col(DeliveryRow.finished_at) >= since - OVERHANG,
        )
        .order_by(col(DeliveryRow.event_id))
        .limit(1)
    )
    first = (await session.execute(statement)).scalar_one_or_none()
    return None if first is None else made_at(to_uuid(first))


async def _get_row(session: AsyncSession, caller: Caller, replay_id: str, *, for_update: bool = False) -> ReplayRow:
    statement = select(ReplayRow).where(col(ReplayRow.id) == replay_id, visible_to(caller, ReplayRow))
    if for_update:
        statement = statement.with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no replay with this id", code="replay_not_found")
    return row


def _view(row: ReplayRow) -> Replay:
    kind: ReplayKind = row.kind  # type: ignore[assignment]  # a CHECK of the table
    status: ReplayStatus = row.status  # type: ignore[assignment]  # a CHECK of the table
    return Replay(
        id=row.id,
        livemode=row.livemode,
        endpoint_id=row.endpoint_id,
        kind=kind,
        since=row.since,
        until=row.until,
        event_types=row.event_types,
        deliveries=None if row.deliveries is None else DeliveriesToReplay.model_validate(row.deliveries),
        rate_per_second=row.rate_per_second,
        dry_run=row.dry_run,
        status=status,
        failure=row.failure,
        progress=row.progress,
        examined=row.examined,
        matched=row.matched,
        queued=row.queued,
        skipped=row.skipped,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        version=row.version,
    )
