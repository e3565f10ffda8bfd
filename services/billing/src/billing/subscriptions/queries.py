"""Reads, locks and writes subscriptions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, Select, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import plans, tenants
from billing.plans import PlanRef, PlanTerms
from billing.subscriptions.rules import attempts_to_come
from billing.subscriptions.schemas import Subscription, TenantSubscription
from billing.subscriptions.tables import SubscriptionRow
from billing.subscriptions.terms import Status, SubscriptionNotFound, Terms, allowed_moves, is_entitled
from billing.tenants import Tenant
from shared.api import ANY_VERSION, IfMatch, Page, Paging, page
from shared.errors import Unavailable
from shared.ids import known_uuid
from shared.postgres.column_types import TypedId
from shared.postgres.many_rows import update_rows

UNKNOWN_ZONE = "UTC"
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Where access without an end stands in a list by its end."""
_PLAIN = [one.name for one in fields(Terms) if one.name not in ("plan", "next_plan")]
_plain_values = attrgetter(*_PLAIN)
_FIXED = ["id", "tenant_id", "livemode", "created_at"]
_CHANGING = [
    "clock_offset",
    "version",
    "updated_at",
    "plan",
    "plan_version",
    "next_plan",
    "next_plan_version",
    *_PLAIN,
]
_COLUMNS = [SubscriptionRow.__table__.columns[name] for name in (*_FIXED, *_CHANGING)]  # type: ignore[attr-defined]


@dataclass(slots=True)
class LockedSubscription:
    """A subscription whose row is locked, or was read for a preview: plain values, because ten thousand may be due at one instant."""

    id: str
    tenant_id: str
    livemode: bool
    version: int
    clock_offset: timedelta
    created_at: datetime
    updated_at: datetime
    terms: Terms
    tenant: Tenant | None
    """None: not known here yet."""
    stored: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    """What its row has of what changes."""

    @property
    def zone(self) -> str:
        """The time zone of its tenant."""
        return UNKNOWN_ZONE if self.tenant is None else self.tenant.timezone

    def now(self, at: datetime) -> datetime:
        """The tenant's own time at this instant."""
        return at + self.clock_offset


async def get(session: AsyncSession, tenant_id: str, now: datetime) -> Subscription:
    """The tenant's subscription at `now`. Raises `Unavailable` until the event of the new tenant has arrived."""
    found = await _read(session, _of([tenant_id]))
    if not found:
        raise Unavailable("this tenant's subscription is not known here yet", code="subscription_not_ready")
    return view(found[0], now)


async def list_all(
    session: AsyncSession, paging: Paging, *, livemode: bool, status: Status | None
) -> Page[TenantSubscription]:
    """The subscriptions of all tenants, those first whose access ends first; without `livemode` those of test tenants alone."""
    row = SubscriptionRow
    statement = select(row) if livemode else select(row).where(col(row.livemode).is_(False))
    if status is not None:
        statement = statement.where(col(row.status) == status)
    ends = func.coalesce(col(row.access_until), NEVER)
    found = await page(
        session,
        statement,
        paging,
        by=(ends, col(row.tenant_id)),
        view=_tenant_view,
        descending=False,
        filters=[livemode, status],
    )
    names = await tenants.names(session, [one.tenant_id for one in found.data])
    for one in found.data:
        one.tenant_name = names.get(one.tenant_id)
    return found


async def get_unlocked(session: AsyncSession, tenant_id: str) -> LockedSubscription:
    """The tenant's subscription as it is now, for what changes nothing. Raises `SubscriptionNotFound`."""
    found = await _read(session, _of([tenant_id]))
    if not found:
        raise SubscriptionNotFound
    return found[0]


async def lock_for_update(session: AsyncSession, tenant_id: str, if_match: IfMatch = ANY_VERSION) -> LockedSubscription:
    """The tenant's subscription, locked. Raises `SubscriptionNotFound`, `PreconditionFailed`."""
    found = await lock_all_for_update(session, [tenant_id])
    if not found:
        raise SubscriptionNotFound
    if_match.check(found[0].version)
    return found[0]


async def lock_all_for_update(session: AsyncSession, tenant_ids: Collection[str]) -> list[LockedSubscription]:
    """These tenants' subscriptions, locked in the order in which every transaction locks several."""
    return await _read(session, _of(tenant_ids).with_for_update())


async def insert_new(session: AsyncSession, new: Sequence[LockedSubscription]) -> list[LockedSubscription]:
    """Write these subscriptions; returns those whose tenant had none."""
    names = (*_FIXED, *_CHANGING)
    statement = insert(SubscriptionRow).values([dict(zip(names, _values(one), strict=True)) for one in new])
    written = statement.on_conflict_do_nothing(index_elements=["tenant_id"]).returning(col(SubscriptionRow.tenant_id))
    tenant_ids = set((await session.execute(written)).scalars())
    inserted = [one for one in new if one.tenant_id in tenant_ids]
    for one in inserted:
        one.stored = _changing_values(one)
    return inserted


async def save(session: AsyncSession, changed: Sequence[LockedSubscription]) -> None:
    """Write what these locked subscriptions are now."""
    if not changed:
        return
    values = [_changing_values(one) for one in changed]
    before, after = zip(*(one.stored for one in changed), strict=True), zip(*values, strict=True)
    # Of ten thousand that are renewed few columns change, and each costs its share.
    changes = {name: column for name, former, column in zip(_CHANGING, before, after, strict=True) if column != former}
    await update_rows(session, SubscriptionRow, ("tenant_id", [known_uuid(one.tenant_id) for one in changed]), changes)
    for one, stored in zip(changed, values, strict=True):
        one.stored = stored


def view(of: LockedSubscription, now: datetime) -> Subscription:
    """A subscription as the API shows it at `now`."""
    terms = of.terms
    return Subscription(
        id=of.id,
        tenant_id=of.tenant_id,
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
        payment_attempts_at=attempts_to_come(terms),
        allowed_transitions=allowed_moves(terms),
        entitled=is_entitled(terms, now + of.clock_offset),
        livemode=of.livemode,
        created_at=of.created_at,
        updated_at=of.updated_at,
        version=of.version,
    )


def _tenant_view(row: SubscriptionRow) -> TenantSubscription:
    shown = TenantSubscription.model_fields.keys() - {"object", "tenant_name"}
    return TenantSubscription(tenant_name=None, **{name: getattr(row, name) for name in shown})


async def _read(session: AsyncSession, statement: Select[Any]) -> list[LockedSubscription]:
    rows = (await session.execute(statement)).all()
    known = await plans.get_many(session, {ref for row in rows for ref in _plans_of(row)})
    known_tenants = await tenants.get_known(session, [row.tenant_id for row in rows])
    return [_locked(row, known, known_tenants) for row in rows]


def _of(tenant_ids: Collection[str]) -> Select[Any]:
    of_tenants = literal(list(tenant_ids), ARRAY(TypedId("ten")))
    return (
        select(*_COLUMNS)
        .where(col(SubscriptionRow.tenant_id) == any_(of_tenants))
        .order_by(col(SubscriptionRow.tenant_id))
    )


def _locked(
    row: Row[Any], known: Mapping[PlanRef, PlanTerms], known_tenants: Mapping[str, Tenant]
) -> LockedSubscription:
    id_, tenant_id, livemode, created_at, *stored = tuple(row)
    clock_offset, version, updated_at, plan, plan_version, next_plan, next_plan_version, status, *plain = stored
    terms = Terms(
        status,
        known[PlanRef(plan, plan_version)] if plan else None,
        known[PlanRef(next_plan, next_plan_version)] if next_plan else None,
        *plain,
    )
    tenant = known_tenants.get(tenant_id)
    return LockedSubscription(
        id_, tenant_id, livemode, version, clock_offset, created_at, updated_at, terms, tenant, tuple(stored)
    )


def _changing_values(of: LockedSubscription) -> tuple[Any, ...]:
    """In the order of `_CHANGING`."""
    terms = of.terms
    plan = terms.plan.ref if terms.plan else (None, None)
    next_plan = terms.next_plan.ref if terms.next_plan else (None, None)
    return (of.clock_offset, of.version, of.updated_at, *plan, *next_plan, *_plain_values(terms))


def _values(of: LockedSubscription) -> tuple[Any, ...]:
    """What a new row has, its changing part last."""
    return (of.id, of.tenant_id, of.livemode, of.created_at, *_changing_values(of))


def _plans_of(row: Row[Any]) -> list[PlanRef]:
    refs = (_ref(row.plan, row.plan_version), _ref(row.next_plan, row.next_plan_version))
    return [ref for ref in refs if ref is not None]


def _ref(code: str | None, version: int | None) -> PlanRef | None:
    return None if code is None or version is None else PlanRef(code, version)
