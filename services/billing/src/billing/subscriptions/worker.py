"""What subscriptions do at an instant, and the charges of their invoices, in any number of replicas."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from billing import payments, subscriptions
from billing.providers import Charge, ChargeResult, Providers, Unknown
from billing.subscriptions import CHARGE, SUBSCRIPTION_DUE
from shared import tasks
from shared.postgres.database import Database
from shared.tasks import Attempted, Task, TaskKind

CHARGE_SECONDS = 20.0
"""Longest wait for a provider; after that the result is unknown."""
LOOK_UP_AGAIN = timedelta(seconds=30)
CHARGES_AT_ONCE = 20
DUE_AT_ONCE = 1_500
DUE_TOGETHER = 500
"""Subscriptions of one transaction: PostgreSQL writes one batch while the next is decided."""

log = structlog.get_logger(__name__)


def task_kinds(database: Database, providers: Providers) -> Sequence[TaskKind]:
    """What the worker of billing works on."""

    async def charge(task: Task) -> tuple[str, ChargeResult] | None:
        async with database.transaction() as session:
            sent = await payments.send(session, task.key, datetime.now(UTC))
        if sent is None:
            return None
        provider, ordered, was_sent = sent
        return ordered.tenant_id, await _ask(providers, provider, ordered, was_sent=was_sent)

    return [
        TaskKind(SUBSCRIPTION_DUE, record=_do_what_is_due, at_once=DUE_AT_ONCE, recorded_together=DUE_TOGETHER),
        # Replicas of the release before still schedule the ends of trials under this name.
        TaskKind("trial_end", record=_do_what_is_due),
        TaskKind(
            CHARGE, attempt=charge, record=_record_charges, at_once=CHARGES_AT_ONCE, attempt_seconds=2 * CHARGE_SECONDS
        ),
    ]


async def _ask(providers: Providers, name: str, charge: Charge, *, was_sent: bool) -> ChargeResult:
    """The result of a charge that is looked up, if it may have been sent before, and else sent with its key."""
    provider = providers.get(name)
    if provider is None:
        return Unknown(f"the provider {name} is not set up in this process")
    try:
        async with asyncio.timeout(CHARGE_SECONDS):
            found = await provider.look_up(charge) if was_sent else None
            return found if found is not None else await provider.charge(charge)
    except Exception as error:
        # Whatever it was, the amount may have been taken.
        log.warning("charge_result_unknown", provider=name, key=charge.key, error=repr(error))
        return Unknown(repr(error)[: tasks.REASON_LENGTH_MAX])


async def _record_charges(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, tasks.Again]:
    again: dict[UUID, tasks.Again] = {}
    asked = [one for one in attempted if one.outcome is not None]
    # Subscriptions are locked in the order in which every transaction locks several.
    for one in sorted(asked, key=lambda one: str(one.outcome[0])):
        tenant_id, result = one.outcome
        await subscriptions.record_charge(session, tenant_id, one.task.key, result, datetime.now(UTC))
        if isinstance(result, Unknown):
            again[one.task.id] = LOOK_UP_AGAIN
    return again


async def _do_what_is_due(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, tasks.Again]:
    task_ids = {one.task.key: one.task.id for one in attempted}
    at = max(one.task.claimed_at for one in attempted)
    later = await subscriptions.do_what_is_due(session, task_ids, at)
    return {task_ids[tenant_id]: due_at for tenant_id, due_at in later.items()}
