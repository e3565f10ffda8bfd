"""Durable timers: rows that say what is due when, written in the transaction that makes it due, gone in the one that does it.

Invariant: whoever takes a due timer holds its row and its subscription's row until the commit, so that of many workers exactly one does
what is due, and a worker that dies leaves both as they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.domain import TIMER_KINDS, TimerKind
from billing.models import SubscriptionRow, TimerRow

_EARLIEST = "timers_earliest"


@dataclass(frozen=True, slots=True)
class Timer:
    """Do what `kind` says with the tenant's subscription, at `due_at` or as soon as possible after."""

    kind: TimerKind
    tenant_id: str
    due_at: datetime


async def schedule(session: AsyncSession, timers: Sequence[Timer]) -> None:
    """Set these timers, each in place of an earlier one of its kind. The subscriptions must be locked, or new, in this transaction."""
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
    known: datetime | None = session.info.get(_EARLIEST)
    session.info[_EARLIEST] = earliest if known is None else min(known, earliest)


def earliest_scheduled(session: AsyncSession) -> datetime | None:
    """The earliest instant that this session's transaction has set a timer for."""
    earliest: datetime | None = session.info.get(_EARLIEST)
    return earliest


async def next_due_at(session: AsyncSession) -> datetime | None:
    """When the next timer is due, or was; None while there is none."""
    statement = select(func.min(col(TimerRow.due_at))).where(col(TimerRow.kind).in_(TIMER_KINDS))
    due_at: datetime | None = (await session.execute(statement)).scalar_one()
    return due_at


async def take_due(session: AsyncSession, now: datetime, *, limit: int) -> list[tuple[Timer, SubscriptionRow]]:
    """Take timers that are due, the longest waiting first, each with its subscription; both are locked, the timers are gone.

    Rows that others hold are passed over, never waited for: so a change that locks a subscription first and its timer second cannot
    deadlock with this, and a timer that such a change has moved is seen as moved.
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
    # At once: what is now done may set the same timer anew.
    await session.flush()
    return [(Timer(timer.kind, timer.tenant_id, timer.due_at), subscription) for timer, subscription in rows]
