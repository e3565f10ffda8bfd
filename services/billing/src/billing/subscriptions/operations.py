"""Starts, extends and ends trials, and runs the timers that are due.

Every change locks the subscription first, raises its version, schedules its timer and publishes the whole state, in one transaction.
A due timer and its subscription stay locked until the commit: exactly one of many workers runs a timer, and a worker that dies
changes neither.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import assert_never

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import audit
from billing.subscriptions import rules
from billing.subscriptions.queries import lock_for_update, terms_of, view
from billing.subscriptions.rules import TIMER_KINDS, Terms, Timer
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow, TimerRow
from shared.api import IfMatch
from shared.audit import Actor
from shared.events.billing import BillingEvent, SubscriptionState, TrialExpired, TrialExtended, TrialStarted
from shared.events.identity import TenantCreated
from shared.ids import new_id
from shared.messaging import outbox

_EARLIEST = "timers_earliest"
"""Where a session holds the earliest instant for which it has set a timer."""


async def start_trials(session: AsyncSession, created: Sequence[TenantCreated], *, default_days: int) -> None:
    """Start the trial of each new tenant, at the instant of its creation. A tenant that has a subscription keeps it."""
    rows = {event.data.tenant_id: _new_row(event, default_days) for event in reversed(created)}
    if not rows:
        return
    statement = (
        insert(SubscriptionRow)
        .values([row.model_dump() for _, row in sorted(rows.items())])
        .on_conflict_do_nothing(index_elements=["tenant_id"])
        .returning(col(SubscriptionRow.tenant_id))
    )
    started = [rows[tenant_id] for tenant_id in (await session.execute(statement)).scalars()]
    await schedule_timers(session, [_trial_end_timer(row) for row in started])
    for row in started:
        _publish(session, TrialStarted, row)


async def extend_trial(
    session: AsyncSession,
    actor: Actor,
    tenant_id: str,
    if_match: IfMatch,
    ends_at: datetime,
    now: datetime,
) -> Subscription:
    """Set the end of the tenant's trial. Nothing changes when it already ends then.

    Raises `SubscriptionNotFound`, `PreconditionFailed`, `TrialEndPassed`, `TrialEndTooFar` or `NotOnTrial`.
    """
    row = await lock_for_update(session, tenant_id, if_match)
    before = terms_of(row)
    after = rules.extend_trial(before, ends_at, now)
    if after == before:
        return view(row, now)
    _set_terms(row, after, now)
    await schedule_timers(session, [_trial_end_timer(row)])
    audit.record(
        session,
        actor,
        action="trial.extended",
        tenant_id=tenant_id,
        subject=row.id,
        before=_audited_fields(before),
        after=_audited_fields(after),
        at=now,
    )
    _publish(session, TrialExtended, row)
    return view(row, now)


async def run_due_timers(session: AsyncSession, now: datetime, *, limit: int) -> list[Timer]:
    """Run timers that are due, `limit` at most; returns those that were run."""
    taken = await take_due_timers(session, now, limit=limit)
    for timer, row in taken:
        match timer.kind:
            case "trial_end":
                await _expire_trial(session, row, now)
            case _:
                assert_never(timer.kind)
    return [timer for timer, _ in taken]


async def schedule_timers(session: AsyncSession, timers: Sequence[Timer]) -> None:
    """Set these timers; each replaces the timer of its kind. The transaction must have locked or created the subscriptions."""
    if not timers:
        return
    ordered = sorted(timers, key=lambda timer: (timer.tenant_id, timer.kind))
    statement = insert(TimerRow).values(
        [{"tenant_id": timer.tenant_id, "kind": timer.kind, "due_at": timer.due_at} for timer in ordered]
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "kind"], set_={"due_at": statement.excluded.due_at}
        )
    )
    earliest = min(timer.due_at for timer in timers)
    previous: datetime | None = session.info.get(_EARLIEST)
    session.info[_EARLIEST] = earliest if previous is None else min(previous, earliest)


def earliest_scheduled_timer(session: AsyncSession) -> datetime | None:
    """The earliest instant for which this session's transaction has set a timer; None if it has set none."""
    earliest: datetime | None = session.info.get(_EARLIEST)
    return earliest


async def take_due_timers(session: AsyncSession, now: datetime, *, limit: int) -> list[tuple[Timer, SubscriptionRow]]:
    """Lock timers that are due, the earliest first, and their subscriptions, and delete the timers.

    Rows that other transactions have locked are skipped: a change that locks a subscription first and its timer second cannot deadlock
    with this, and the new instant of a timer that it sets is seen.
    """
    statement = (
        select(TimerRow, SubscriptionRow)
        .join(SubscriptionRow, col(SubscriptionRow.tenant_id) == col(TimerRow.tenant_id))
        .where(col(TimerRow.kind).in_(TIMER_KINDS), col(TimerRow.due_at) <= now)
        .order_by(col(TimerRow.due_at))
        .limit(limit)
        .with_for_update(of=[TimerRow, SubscriptionRow], skip_locked=True)
    )
    rows = (await session.execute(statement)).all()
    for timer, _ in rows:
        await session.delete(timer)
    # Now, because running a timer may set the same timer again.
    await session.flush()
    return [(Timer(timer.kind, timer.tenant_id, timer.due_at), subscription) for timer, subscription in rows]


async def _expire_trial(session: AsyncSession, row: SubscriptionRow, now: datetime) -> None:
    expired = rules.expire(terms_of(row), now)
    if expired is not None:
        _set_terms(row, expired, now)
        _publish(session, TrialExpired, row)
    elif row.status == "trialing":
        # The end was changed without its timer, by hand in the database: the end of the subscription counts.
        await schedule_timers(session, [_trial_end_timer(row)])


def _new_row(event: TenantCreated, default_days: int) -> SubscriptionRow:
    tenant = event.data
    created_at = event.time.astimezone(UTC)
    terms = rules.start_trial(created_at, default_days if tenant.trial_days is None else tenant.trial_days)
    return SubscriptionRow(
        id=new_id("sub"),
        tenant_id=tenant.tenant_id,
        livemode=not tenant.test,
        version=1,
        created_at=created_at,
        updated_at=created_at,
        **asdict(terms),
    )


def _set_terms(row: SubscriptionRow, terms: Terms, now: datetime) -> None:
    for name, value in asdict(terms).items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = now


def _trial_end_timer(row: SubscriptionRow) -> Timer:
    assert row.trial_ends_at is not None
    return Timer("trial_end", row.tenant_id, row.trial_ends_at)


def _audited_fields(terms: Terms) -> dict[str, str | None]:
    return {
        "status": terms.status,
        "trial_ends_at": terms.trial_ends_at.isoformat() if terms.trial_ends_at else None,
    }


def _publish(session: AsyncSession, event_type: type[BillingEvent], row: SubscriptionRow) -> None:
    state = SubscriptionState(tenant_id=row.tenant_id, **asdict(terms_of(row)))
    outbox.publish(
        session,
        event_type(
            type=event_type.type_name(),
            tenant_id=row.tenant_id,
            subject=row.tenant_id,
            sequence=row.version,
            data=state,
        ),
    )
