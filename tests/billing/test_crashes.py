"""Workers that die at any commit of a purchase, a renewal and its dunning: the books are those of a life without deaths.

A worker that dies here commits nothing more, calls nobody any more, and keeps its leases until they end, like a process after `kill -9`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from billing.providers import Charge, ChargeResult, Declined, Providers
from billing.subscriptions.effects import schedule
from billing.subscriptions.queries import lock_for_update
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.worker import task_kinds
from shared.ids import to_uuid
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import TaskWorker
from shared.tasks import worker as tasks_worker
from tests.harness.billing import ScriptedProvider, load_plans, published
from tests.harness.billing_life import begin, buy, buy_by_charge
from tests.harness.services import open_database
from tests.harness.waiting import eventually

_LEDGER = text("SELECT cause, account, amount FROM ledger_entries WHERE tenant_id = :tenant ORDER BY id")
_ATTEMPTS = text("SELECT key, state FROM charge_attempts WHERE tenant_id = :tenant ORDER BY key")

When = Literal["before", "after"]


class Mortal:
    """A worker of its own, which dies before or after its nth commit."""

    def __init__(self, url: str, provider: ScriptedProvider, *, dies_at: int | None = None, when: When = "before"):
        self.database = open_database(url, pool_size=3)
        self.died = asyncio.Event()
        self.commits = 0
        self._provider, self._dies_at, self._when = provider, dies_at, when
        self.name = provider.name
        self.database.before_commit.append(self._before_commit)
        self.database.after_commit.append(self._after_commit)
        providers: Providers = {self.name: self}
        self.worker = TaskWorker(self.database, task_kinds(self.database, providers), Metrics("billing"))
        self._running = asyncio.create_task(self.worker.run())

    async def charge(self, charge: Charge) -> ChargeResult:
        await self._stop_if_dead()
        return await self._provider.charge(charge)

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        await self._stop_if_dead()
        return await self._provider.look_up(charge)

    async def end(self) -> None:
        """Stop as a process that was killed: nothing is given back, and open transactions are rolled back."""

        async def nothing() -> None: ...

        self.worker._give_back = nothing  # type: ignore[method-assign]
        attempts = [one.attempt for one in self.worker._claimed.values() if one.attempt is not None]
        for task in (self._running, *attempts):
            task.cancel()
        await asyncio.gather(self._running, *attempts, return_exceptions=True)
        await self.database.close()

    async def _before_commit(self, session: AsyncSession) -> None:
        await self._stop_if_dead()
        self.commits += 1
        if self._when == "before" and self.commits == self._dies_at:
            self.died.set()
            await self._stop_if_dead()

    def _after_commit(self, session: AsyncSession) -> None:
        if self._when == "after" and self.commits == self._dies_at:
            self.died.set()

    async def _stop_if_dead(self) -> None:
        if self.died.is_set():
            await asyncio.Event().wait()


@dataclass
class Life:
    """What a life left behind."""

    ledger: Sequence[tuple[str, str, int]]
    attempts: Sequence[str]
    events: Sequence[str]
    taken: int
    commits: int


@pytest.fixture(scope="module")
async def plans(billing_url: str) -> None:
    database = open_database(billing_url)
    await load_plans(database)
    await database.close()


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_worker, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(tasks_worker, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(tasks_worker, "POLL_SECONDS", 0.05)


@asynccontextmanager
async def working(url: str, provider: ScriptedProvider, **fate: Any) -> AsyncIterator[Mortal]:
    """A worker; when it dies, two others race for what it left."""
    first = Mortal(url, provider, **fate)
    heirs: list[Mortal] = []

    async def bury() -> None:
        await first.died.wait()
        await first.end()
        heirs.extend(Mortal(url, provider) for _ in range(2))

    burial = asyncio.create_task(bury())
    try:
        yield first
    finally:
        # A burial that has begun comes to its end: cut short, it would leave the connections of the dead worker open.
        if not first.died.is_set():
            burial.cancel()
        await asyncio.gather(burial, return_exceptions=True)
        for one in heirs if first.died.is_set() else [first]:
            await one.end()


async def live(database: Database, url: str, **fate: Any) -> Life:
    """A purchase, a renewal that is declined, and the second attempt that succeeds."""
    provider = ScriptedProvider()
    tenant_id = await begin(database, trial_days=10)
    async with working(url, provider, **fate) as worker:
        await buy(database, provider, tenant_id)
        active = await until(database, tenant_id, status="active")
        provider.answer(tenant_id, Declined("insufficient_funds"))
        await jump(database, tenant_id, active.current_period_end)
        late = await until(database, tenant_id, status="past_due")
        await jump(database, tenant_id, late.next_payment_attempt_at)
        await until(database, tenant_id, status="active", payment_pending=False)
    attempts, ledger = await _books(database, tenant_id)
    events = [event.type for event in await published(database, tenant_id)]
    taken = sum(charge.amount for charge in provider.taken.values())
    return Life(ledger, attempts, events, taken, worker.commits)


def now() -> datetime:
    return datetime.now(UTC)


async def until(database: Database, tenant_id: str, **wanted: Any) -> Subscription:
    async def is_so() -> Subscription | None:
        async with database.reading() as session:
            found = await subscriptions.get(session, tenant_id, now())
        return found if all(getattr(found, name) == value for name, value in wanted.items()) else None

    return await eventually(is_so, what=f"the subscription is {wanted}")


async def jump(database: Database, tenant_id: str, to: datetime | None) -> None:
    """Set the tenant's clock to an instant, and leave what is due then to the workers."""
    assert to is not None
    async with database.transaction() as session:
        held = await lock_for_update(session, tenant_id)
        held.row.clock_offset = to - now() + timedelta(milliseconds=1)
        await schedule(session, [held])


async def test_a_worker_that_dies_at_any_commit_changes_nothing_of_the_books(
    billing_url: str, database: Database, plans: None
) -> None:
    expected = await live(database, billing_url)
    assert expected.attempts == ["succeeded", "declined", "succeeded"]
    assert expected.taken == 2 * 5145

    # Before one commit is after the one before it, but for what was asked of the provider in between.
    fates: list[tuple[When, int]] = [("before" if n % 2 else "after", n) for n in range(1, expected.commits + 1)]
    for when, dies_at in fates:
        found = await live(database, billing_url, dies_at=dies_at, when=when)
        assert found.ledger == expected.ledger, (when, dies_at)
        assert found.attempts == expected.attempts, (when, dies_at)
        assert found.events == expected.events, (when, dies_at)
        assert found.taken == expected.taken, (when, dies_at)


async def test_three_workers_that_race_charge_each_period_once(
    billing_url: str, database: Database, plans: None
) -> None:
    provider = ScriptedProvider()
    crowd = [Mortal(billing_url, provider) for _ in range(3)]
    try:
        tenants = await asyncio.gather(*(buy_by_charge(database, provider) for _ in range(12)))
        bought = [await until(database, tenant_id, status="active", payment_pending=False) for tenant_id in tenants]
        for one in bought:
            await jump(database, one.tenant_id, one.current_period_end)
        renewed = [
            await until(
                database,
                one.tenant_id,
                status="active",
                payment_pending=False,
                current_period_start=one.current_period_end,
            )
            for one in bought
        ]
    finally:
        for worker in crowd:
            await worker.end()

    assert len(renewed) == len(provider.taken) / 2
    for tenant_id in tenants:
        attempts, ledger = await _books(database, tenant_id)
        assert attempts == ["succeeded", "succeeded"]
        assert [cause for cause, _, _ in ledger] == [*["invoice_finalized"] * 3, *["invoice_paid"] * 2] * 2
    assert sum(charge.amount for charge in provider.taken.values()) == len(tenants) * 2 * 5145


async def _books(database: Database, tenant_id: str) -> tuple[list[str], list[tuple[str, str, int]]]:
    async with database.reading() as session:
        ledger = [
            (row.cause, row.account, row.amount)
            for row in await session.execute(_LEDGER, {"tenant": to_uuid(tenant_id)})
        ]
        attempts = [row.state for row in await session.execute(_ATTEMPTS, {"tenant": to_uuid(tenant_id)})]
    return attempts, ledger
