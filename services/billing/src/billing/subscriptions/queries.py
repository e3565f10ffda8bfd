"""Reads subscriptions, and locks them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.subscriptions import rules
from billing.subscriptions.rules import SubscriptionNotFound, Terms
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow
from shared.api import ANY_VERSION, IfMatch
from shared.errors import Unavailable


async def get(session: AsyncSession, tenant_id: str, now: datetime) -> Subscription:
    """The tenant's subscription at `now`. Raises `Unavailable` until the event of the new tenant has arrived."""
    row = (await session.execute(_of_tenant(tenant_id))).scalar_one_or_none()
    if row is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="subscription_not_ready")
    return view(row, now)


async def lock_for_update(session: AsyncSession, tenant_id: str, if_match: IfMatch = ANY_VERSION) -> SubscriptionRow:
    """The row of the tenant's subscription, locked. Raises `SubscriptionNotFound`, `PreconditionFailed`."""
    row = (await session.execute(_of_tenant(tenant_id).with_for_update())).scalar_one_or_none()
    if row is None:
        raise SubscriptionNotFound
    if_match.check(row.version)
    return row


async def lock_all_for_update(session: AsyncSession, tenant_ids: Collection[str]) -> Sequence[SubscriptionRow]:
    """The rows of these tenants' subscriptions, locked in the order in which every transaction locks several."""
    wanted = select(SubscriptionRow).where(col(SubscriptionRow.tenant_id).in_(tenant_ids))
    statement = wanted.order_by(col(SubscriptionRow.tenant_id)).with_for_update()
    return (await session.execute(statement)).scalars().all()


def terms_of(row: SubscriptionRow) -> Terms:
    """What the subscription grants at present."""
    return Terms(
        status=row.status,
        plan=row.plan,
        trial_ends_at=row.trial_ends_at,
        access_until=row.access_until,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
    )


def view(row: SubscriptionRow, now: datetime) -> Subscription:
    """A subscription as the API shows it at `now`."""
    terms = terms_of(row)
    return Subscription(
        id=row.id,
        tenant_id=row.tenant_id,
        entitled=rules.is_entitled(terms, now),
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        **asdict(terms),
    )


def _of_tenant(tenant_id: str) -> Select[SubscriptionRow]:
    return select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id)
