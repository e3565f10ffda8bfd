"""Reads a subscription, and when the next timer is due."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.subscriptions import rules
from billing.subscriptions.rules import TIMER_KINDS, Terms
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow, TimerRow
from shared.errors import Unavailable


async def next_timer_due_at(session: AsyncSession) -> datetime | None:
    """When the next timer is due, or was; None while there is none."""
    statement = select(func.min(col(TimerRow.due_at))).where(col(TimerRow.kind).in_(TIMER_KINDS))
    due_at: datetime | None = (await session.execute(statement)).scalar_one()
    return due_at


async def get(session: AsyncSession, tenant_id: str, now: datetime) -> Subscription:
    """The tenant's subscription as of now. Raises `Unavailable` for a tenant so new that its trial has not started here yet."""
    row = (
        await session.execute(select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id))
    ).scalar_one_or_none()
    if row is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="subscription_not_ready")
    return view(row, now)


def terms_of(row: SubscriptionRow) -> Terms:
    return Terms(
        status=row.status,
        plan=row.plan,
        trial_ends_at=row.trial_ends_at,
        access_until=row.access_until,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
    )


def view(row: SubscriptionRow, now: datetime) -> Subscription:
    terms = terms_of(row)
    return Subscription(
        id=row.id,
        tenant_id=row.tenant_id,
        entitled=rules.entitled(terms, now),
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        **asdict(terms),
    )
