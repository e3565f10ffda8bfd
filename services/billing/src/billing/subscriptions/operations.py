"""Starts, extends and ends trials.

Every change locks the subscription first, raises its version, schedules the end of its trial and publishes the whole state, in one
transaction. An extension replaces the task of the former end, so that one never ends an extended trial.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.subscriptions import rules
from billing.subscriptions.queries import lock_all_for_update, lock_for_update, terms_of, view
from billing.subscriptions.rules import Terms
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow
from shared import audit, tasks
from shared.api import IfMatch
from shared.audit import Actor
from shared.events.billing import EntitlementEvent, SubscriptionState, TrialExpired, TrialExtended, TrialStarted
from shared.events.identity import TenantCreated
from shared.ids import new_id
from shared.messaging import outbox
from shared.tasks import NewTask

TRIAL_END = "trial_end"
"""The kind of the task that ends a trial; its key is the tenant's id."""


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
    await _schedule_trial_ends(session, started)
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
    before = view(row, now)
    terms = rules.extend_trial(terms_of(row), ends_at, now)
    if terms == terms_of(row):
        return before
    _set_terms(row, terms, now)
    await _schedule_trial_ends(session, [row])
    after = view(row, now)
    audit.record(session, actor, "trial.extended", row.id, before=before, after=after, tenant_id=tenant_id)
    _publish(session, TrialExtended, row)
    return after


async def end_trials(session: AsyncSession, tenant_ids: Collection[str], now: datetime) -> dict[str, datetime]:
    """End the trials of these tenants that have ended by `now`; returns the later ends of those that have not."""
    later: dict[str, datetime] = {}
    for row in await lock_all_for_update(session, tenant_ids):
        terms = terms_of(row)
        expired = rules.expire(terms, now)
        if expired is not None:
            before = view(row, now)
            _set_terms(row, expired, now)
            audit.record_service(
                session, "trial.expired", row.id, tenant_id=row.tenant_id, before=before, after=view(row, now)
            )
            _publish(session, TrialExpired, row)
        elif terms.status == "trialing" and terms.trial_ends_at is not None:
            # The end was changed without its task, by hand in the database: the end of the subscription counts.
            later[row.tenant_id] = terms.trial_ends_at
    return later


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


async def _schedule_trial_ends(session: AsyncSession, rows: Sequence[SubscriptionRow]) -> None:
    await tasks.schedule(session, [NewTask(TRIAL_END, row.tenant_id, row.trial_ends_at) for row in rows])


def _publish(session: AsyncSession, event_type: type[EntitlementEvent], row: SubscriptionRow) -> None:
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
