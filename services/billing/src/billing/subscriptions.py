"""Subscriptions: how one begins, what is shown of it, how its trial is extended and how it ends.

Every change locks the row first, bumps its version, moves its timer and publishes the whole state, in one transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import assert_never

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import audit, domain, timers
from billing.domain import Terms
from billing.models import Subscription, SubscriptionRow
from billing.timers import Timer
from shared.errors import NotFound, Unavailable
from shared.events import Event
from shared.events.billing import BillingEvent, SubscriptionState, TrialExpired, TrialExtended, TrialStarted
from shared.events.identity import TenantCreated
from shared.ids import new_id
from shared.messaging import outbox


class SubscriptionNotFound(NotFound):
    """No tenant of this id has reached billing."""

    code = "subscription_not_found"

    def __init__(self) -> None:
        super().__init__("no subscription of this tenant is known here (yet)")


async def start_trials(session: AsyncSession, created: Sequence[TenantCreated], *, default_days: int) -> None:
    """Give each new tenant its trial, counted from the instant of its creation. A tenant that has a subscription keeps it."""
    rows = {event.data.tenant_id: _new_row(event, default_days) for event in reversed(created)}
    if not rows:
        return
    statement = (
        insert(SubscriptionRow)
        .values([row.model_dump() for _, row in sorted(rows.items())])
        .on_conflict_do_nothing(index_elements=["tenant_id"])
        .returning(col(SubscriptionRow.tenant_id))
    )
    begun = [rows[tenant_id] for tenant_id in (await session.execute(statement)).scalars()]
    await timers.schedule(session, [_trial_end(row) for row in begun])
    for row in begun:
        outbox.publish(session, _fact(TrialStarted, row))


async def get(session: AsyncSession, tenant_id: str, now: datetime) -> Subscription:
    """The tenant's subscription as of now. Raises `Unavailable` for a tenant so new that its trial has not started here yet."""
    row = (
        await session.execute(select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id))
    ).scalar_one_or_none()
    if row is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="subscription_not_ready")
    return _view(row, now)


async def extend_trial(
    session: AsyncSession,
    actor: audit.Actor,
    tenant_id: str,
    ends_at: datetime,
    now: datetime,
    *,
    check_version: Callable[[int], None],
) -> Subscription:
    """Move the end of the tenant's trial; nothing changes when it already ends then.

    `check_version` is given the present version and may refuse. Raises `SubscriptionNotFound`, `domain.TrialEndPassed`,
    `domain.TrialEndTooFar` or `domain.NotOnTrial`.
    """
    locked = select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id).with_for_update()
    row = (await session.execute(locked)).scalar_one_or_none()
    if row is None:
        raise SubscriptionNotFound
    check_version(row.version)
    before = _terms(row)
    after = domain.extend_trial(before, ends_at, now)
    if after == before:
        return _view(row, now)
    _take(row, after, now)
    await timers.schedule(session, [_trial_end(row)])
    audit.record(
        session,
        actor,
        action="trial.extended",
        tenant_id=tenant_id,
        subject=row.id,
        before=_told(before),
        after=_told(after),
        at=now,
    )
    outbox.publish(session, _fact(TrialExtended, row))
    return _view(row, now)


async def do_what_is_due(session: AsyncSession, now: datetime, *, limit: int) -> list[Timer]:
    """Take due timers (`limit` at most) and do what they say; returns those that were taken."""
    taken = await timers.take_due(session, now, limit=limit)
    for timer, row in taken:
        match timer.kind:
            case "trial_end":
                await _expire_trial(session, row, now)
            case _:
                assert_never(timer.kind)
    return [timer for timer, _ in taken]


async def _expire_trial(session: AsyncSession, row: SubscriptionRow, now: datetime) -> None:
    expired = domain.expire(_terms(row), now)
    if expired is not None:
        _take(row, expired, now)
        outbox.publish(session, _fact(TrialExpired, row))
    elif row.status == "trialing":
        # The end was moved without its timer (a repair by hand in the database): the subscription's own word counts.
        await timers.schedule(session, [_trial_end(row)])


def _new_row(event: TenantCreated, default_days: int) -> SubscriptionRow:
    tenant = event.data
    created_at = event.time.astimezone(UTC)
    terms = domain.start_trial(created_at, default_days if tenant.trial_days is None else tenant.trial_days)
    return SubscriptionRow(
        id=new_id("sub"),
        tenant_id=tenant.tenant_id,
        livemode=not tenant.test,
        version=1,
        created_at=created_at,
        updated_at=created_at,
        **asdict(terms),
    )


def _terms(row: SubscriptionRow) -> Terms:
    return Terms(
        status=row.status,
        plan=row.plan,
        trial_ends_at=row.trial_ends_at,
        access_until=row.access_until,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
    )


def _take(row: SubscriptionRow, terms: Terms, now: datetime) -> None:
    for name, value in asdict(terms).items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = now


def _trial_end(row: SubscriptionRow) -> Timer:
    assert row.trial_ends_at is not None
    return Timer("trial_end", row.tenant_id, row.trial_ends_at)


def _told(terms: Terms) -> dict[str, str | None]:
    return {
        "status": terms.status,
        "trial_ends_at": terms.trial_ends_at.isoformat() if terms.trial_ends_at else None,
    }


def _fact(fact: type[BillingEvent], row: SubscriptionRow) -> Event:
    state = SubscriptionState(tenant_id=row.tenant_id, **asdict(_terms(row)))
    return fact(tenant_id=row.tenant_id, subject=row.tenant_id, sequence=row.version, data=state)  # type: ignore[call-arg]


def _view(row: SubscriptionRow, now: datetime) -> Subscription:
    terms = _terms(row)
    return Subscription(
        id=row.id,
        tenant_id=row.tenant_id,
        entitled=domain.entitled(terms, now),
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        **asdict(terms),
    )
