"""Reconciliation: what is found between the books, the tasks and a provider, and what is put right."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.providers import Succeeded
from billing.reconciliation import compare_charge
from billing.reconciliation.worker import reconcile
from billing.subscriptions.worker import task_kinds
from shared.ids import to_uuid
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import TaskWorker
from tests.harness.billing import ScriptedProvider, TimedOutAfterwards, load_plans
from tests.harness.billing_life import buy_by_charge, status_of
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, migrated
from tests.harness.waiting import eventually

DAYS = timedelta(days=35)
ONE_SIDED = """
    INSERT INTO ledger_entries (tenant_id, posting_id, cause, account, currency, amount, document, at)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'invoice_paid', 'cash', 'CAD', 1, 'x', now())
"""


@pytest.fixture
async def books(backing: BackingStack) -> AsyncIterator[Database]:
    """A database of its own: what is found is found in all of it."""
    database = open_database(await asyncio.to_thread(migrated, backing, "billing"))
    await load_plans(database)
    yield database
    await database.close()


async def test_what_a_lost_task_left_behind_is_found_and_put_right(books: Database) -> None:
    provider = ScriptedProvider()
    providers = {provider.name: provider}
    worker = asyncio.create_task(TaskWorker(books, task_kinds(books, providers), Metrics("billing")).run())
    try:
        well = await buy_by_charge(books, provider)
        await eventually(lambda: status_of(books, well, "active"), what="it was paid")
        assert await reconcile(books, providers, since=DAYS, apply=False) == []

        lost = await buy_by_charge(books, provider, TimedOutAfterwards())
        await eventually(lambda: lost in {charge.tenant_id for charge in provider.taken.values()}, what="it was taken")
        await eventually(lambda: _is_unknown(books, lost), what="nobody knows")
        async with books.transaction() as session:
            await session.execute(text("DELETE FROM tasks WHERE kind IN ('charge', 'subscription_due')"))

        found = await reconcile(books, providers, since=DAYS, apply=False)
        again = await reconcile(books, providers, since=DAYS, apply=True)
        await eventually(lambda: status_of(books, lost, "active"), what="the result is recorded")

        assert sorted((one.kind, one.tenant_id) for one in found) == sorted(
            [("task_missing", well), ("task_missing", lost), ("charge_result_missing", lost)]
        )
        assert again == found
        assert await reconcile(books, providers, since=DAYS, apply=False) == []
        assert len(provider.taken) == 2
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_books_that_were_changed_by_hand_do_not_add_up(books: Database) -> None:
    provider = ScriptedProvider()
    providers = {provider.name: provider}
    worker = asyncio.create_task(TaskWorker(books, task_kinds(books, providers), Metrics("billing")).run())
    tenant_id = await buy_by_charge(books, provider)
    await eventually(lambda: status_of(books, tenant_id, "active"), what="it was paid")
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    async with books.transaction() as session:
        values = {"tenant": to_uuid(tenant_id)}
        await session.execute(text("UPDATE invoices SET status = 'open' WHERE tenant_id = :tenant"), values)
        await session.execute(text("UPDATE invoice_counters SET invoices = 3 WHERE tenant_id = :tenant"), values)
    provider.taken.clear()
    provider.forget()

    found = {one.kind: one.detail for one in await reconcile(books, providers, since=DAYS, apply=True)}
    unasked = await reconcile(books, {}, since=DAYS, apply=True)

    assert found.keys() == {
        "numbers_with_gaps",
        "receivable_differs",
        "cash_differs",
        "open_invoice_differs",
        "charge_unknown_to_provider",
    }
    assert found["receivable_differs"] == "0 found, 5145 expected"
    assert "provider_not_asked" in {one.kind for one in unasked}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = amount + 1",
        "DELETE FROM ledger_entries",
        ONE_SIDED,
        "UPDATE invoices SET total = total + 1, subtotal = subtotal + 1",
        "UPDATE invoices SET snapshot = '{}'",
        "UPDATE invoices SET number = number + 1",
        "DELETE FROM invoices",
        "UPDATE credit_notes SET amount = amount + 1",
        "DELETE FROM credit_notes",
    ],
)
async def test_the_database_keeps_ledger_and_invoices_as_they_are(database: Database, statement: str) -> None:
    await load_plans(database)
    await buy_by_charge(database, ScriptedProvider())

    with pytest.raises(DBAPIError, match=r"only grows|does not balance|never changes"):
        async with database.transaction() as session:
            await session.execute(text(statement))


def test_a_charge_that_was_taken_after_it_was_declined_is_told() -> None:
    found = compare_charge("ten_1", "inv_1_1", "declined", Succeeded("pay_1"))

    assert found is not None
    assert found.kind == "charge_taken_after_decline"
    assert compare_charge("ten_1", "inv_1_1", "unknown", None) is None


async def _is_unknown(database: Database, tenant_id: str) -> bool:
    statement = text("SELECT count(*) FROM charge_attempts WHERE tenant_id = :tenant AND state = 'unknown'")
    async with database.reading() as session:
        return bool((await session.execute(statement, {"tenant": to_uuid(tenant_id)})).scalar_one())
