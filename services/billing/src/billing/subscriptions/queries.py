"""Reads subscriptions, and locks them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import plans, tenants
from billing.plans import PlanRef, PlanTerms
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow
from billing.subscriptions.terms import SubscriptionNotFound, Terms, allowed_moves, is_entitled
from shared.api import ANY_VERSION, IfMatch
from shared.errors import Unavailable

UNKNOWN_ZONE = "UTC"
_PLAIN = [field.name for field in fields(Terms) if field.name not in ("plan", "next_plan")]


@dataclass(slots=True)
class LockedSubscription:
    """The locked row of a subscription, its terms, and its tenant's time zone."""

    row: SubscriptionRow
    terms: Terms
    zone: str

    def now(self, at: datetime) -> datetime:
        """The tenant's own time at this instant."""
        return at + self.row.clock_offset


async def get(session: AsyncSession, tenant_id: str, now: datetime) -> Subscription:
    """The tenant's subscription at `now`. Raises `Unavailable` until the event of the new tenant has arrived."""
    row = (await session.execute(_of_tenant(tenant_id))).scalar_one_or_none()
    if row is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="subscription_not_ready")
    return view(row, terms_of(row, await plans.get_many(session, _plans_of([row]))), now)


async def lock_for_update(session: AsyncSession, tenant_id: str, if_match: IfMatch = ANY_VERSION) -> LockedSubscription:
    """The tenant's subscription, locked. Raises `SubscriptionNotFound`, `PreconditionFailed`."""
    found = await lock_all_for_update(session, [tenant_id])
    if not found:
        raise SubscriptionNotFound
    if_match.check(found[0].row.version)
    return found[0]


async def lock_all_for_update(session: AsyncSession, tenant_ids: Collection[str]) -> list[LockedSubscription]:
    """These tenants' subscriptions, locked in the order in which every transaction locks several."""
    wanted = select(SubscriptionRow).where(col(SubscriptionRow.tenant_id).in_(tenant_ids))
    statement = wanted.order_by(col(SubscriptionRow.tenant_id)).with_for_update()
    rows = (await session.execute(statement.execution_options(populate_existing=True))).scalars().all()
    known = await plans.get_many(session, _plans_of(rows))
    zones = await tenants.zones(session, [row.tenant_id for row in rows])
    return [LockedSubscription(row, terms_of(row, known), zones.get(row.tenant_id, UNKNOWN_ZONE)) for row in rows]


def terms_of(row: SubscriptionRow, known: Mapping[PlanRef, PlanTerms]) -> Terms:
    """What the subscription grants at present."""
    plan = _ref(row.plan, row.plan_version)
    next_plan = _ref(row.next_plan, row.next_plan_version)
    return Terms(
        plan=known[plan] if plan else None,
        next_plan=known[next_plan] if next_plan else None,
        **{name: getattr(row, name) for name in _PLAIN},
    )


def write(row: SubscriptionRow, terms: Terms) -> None:
    """Set the row to these terms."""
    for name in _PLAIN:
        setattr(row, name, getattr(terms, name))
    row.plan, row.plan_version = terms.plan.ref if terms.plan else (None, None)
    row.next_plan, row.next_plan_version = terms.next_plan.ref if terms.next_plan else (None, None)


def view(row: SubscriptionRow, terms: Terms, now: datetime) -> Subscription:
    """A subscription as the API shows it at `now`."""
    return Subscription(
        id=row.id,
        tenant_id=row.tenant_id,
        status=terms.status,
        plan=terms.plan.code if terms.plan else None,
        next_plan=terms.next_plan.code if terms.next_plan else None,
        features=dict(terms.plan.features or {}) if terms.plan else {},
        trial_ends_at=terms.trial_ends_at,
        access_until=terms.access_until,
        current_period_start=terms.current_period_start,
        current_period_end=terms.current_period_end,
        cancel_at_period_end=terms.cancel_at_period_end,
        complimentary=terms.complimentary,
        payment_pending=terms.payment_pending,
        payment_due_at=terms.payment_due_at,
        next_payment_attempt_at=terms.retry_at,
        allowed_transitions=allowed_moves(terms),
        entitled=is_entitled(terms, now + row.clock_offset),
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _of_tenant(tenant_id: str) -> Select[SubscriptionRow]:
    return select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id)


def _plans_of(rows: Iterable[SubscriptionRow]) -> set[PlanRef]:
    named = [pair for row in rows for pair in ((row.plan, row.plan_version), (row.next_plan, row.next_plan_version))]
    return {ref for code, version in named if (ref := _ref(code, version))}


def _ref(code: str | None, version: int | None) -> PlanRef | None:
    return None if code is None or version is None else PlanRef(code, version)
