"""Compares billing's records with each other and with the providers, and puts right what can be.

No transaction is open while a provider is asked. What is put right takes the way that it would have taken by itself: its task is scheduled,
and the workers of the service do the rest.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from billing import payments, reconciliation, subscriptions
from billing.payments import ChargeAttemptRow
from billing.providers import ChargeResult, Providers
from billing.reconciliation import Difference
from billing.subscriptions import CHARGE
from shared import tasks
from shared.postgres.database import Database
from shared.tasks import NewTask

SUBSCRIPTIONS_AT_ONCE = 500
LOOK_UP_SECONDS = 20.0


async def reconcile(database: Database, providers: Providers, *, since: timedelta, apply: bool) -> list[Difference]:
    """All differences; with `apply` those that can be put right are. Charges are compared that were begun within `since`."""
    async with database.reading() as session:
        found = await reconciliation.differences_within(session)
        attempts = await reconciliation.charges_since(session, datetime.now(UTC) - since)
    found += await _missing_tasks(database, apply=apply)
    for attempt in attempts:
        difference = await _compare(database, providers, attempt, apply=apply)
        if difference is not None:
            found.append(difference)
    return found


async def _compare(
    database: Database, providers: Providers, attempt: ChargeAttemptRow, *, apply: bool
) -> Difference | None:
    provider = providers.get(attempt.provider)
    if provider is None:
        detail = f"{attempt.key}: the provider {attempt.provider} is not set up here"
        return Difference("provider_not_asked", attempt.tenant_id, detail)
    async with database.reading() as session:
        charge = await payments.charge_of(session, attempt)
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            result: ChargeResult | None = await provider.look_up(charge)
    except Exception as error:
        # Whatever it was, it is told, and the next charge is compared.
        return Difference("provider_not_asked", attempt.tenant_id, f"{attempt.key}: {error!r}")
    difference = reconciliation.compare_charge(attempt.tenant_id, attempt.key, attempt.state, result)
    if apply and difference is not None and difference.kind == "charge_result_missing":
        async with database.transaction() as session:
            await tasks.schedule(session, [NewTask(CHARGE, attempt.id)])
    return difference


async def _missing_tasks(database: Database, *, apply: bool) -> list[Difference]:
    """Subscriptions of which something is to come, without a task for it."""
    found: list[Difference] = []
    after: str | None = None
    while True:
        async with database.transaction() as session:
            missing, after = await subscriptions.without_tasks(session, after, SUBSCRIPTIONS_AT_ONCE)
            if apply:
                await subscriptions.reschedule(session, missing)
        found += [Difference("task_missing", tenant_id, "nothing is scheduled") for tenant_id in missing]
        if after is None:
            return found
