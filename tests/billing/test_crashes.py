"""`kill -9` of billing's workers at every commit of a purchase, a renewal and its dunning: the books are those of a life without deaths."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from billing import subscriptions
from billing.subscriptions.effects import schedule
from billing.subscriptions.queries import lock_for_update, save
from billing.subscriptions.schemas import Subscription
from deploy.devstack.forks import Forker, Program, start
from shared.ids import to_uuid
from shared.postgres.database import Database
from tests.harness.billing import load_plans, published
from tests.harness.billing_life import begin, buy
from tests.harness.effort import FACTOR
from tests.harness.payments import FakeServer, fake_server
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, migrated
from tests.harness.waiting import eventually

POINTS_APART = 3
"""Of the commits at which a worker dies, every third is tried in every run, and each under `make fuzz`."""
LANES = 4
"""Lives that are lived at the same time, each on a database of its own."""
STOP_SECONDS = 20.0
WAIT_SECONDS = 120.0
ASKED_EVERY_SECONDS = 0.15
_EXPIRE = text("UPDATE tasks SET next_at = now() WHERE lease_token IS NOT NULL AND next_at > now()")
_LEDGER = text("SELECT cause, account, amount FROM ledger_entries WHERE tenant_id = :tenant ORDER BY id")
_ATTEMPTS = text("SELECT state FROM charge_attempts WHERE tenant_id = :tenant ORDER BY invoice_id, n")
_PRICE = 5145
"""Of a month of the small plan, with GST."""


@dataclass
class Replicas:
    """Workers on one database as processes of their own, and the provider that they charge with."""

    url: str
    database: Database
    provider: FakeServer
    folder: Path
    forker: Forker | None
    running: list[Program] = field(default_factory=list)
    started: int = 0

    def start(self, **fate: Any) -> tuple[Program, Path]:
        """One more; returns it, and the file in which it says its commits."""
        self.started += 1
        said = self.folder / f"worker-{self.started}.out"
        given = json.dumps({"database_url": self.url, "provider_url": self.provider.url, **fate})
        program = start(
            ["tests.billing.mortal_worker", given],
            {},
            output=said,
            errors=said.with_suffix(".err"),
            forker=self.forker,
        )
        self.running.append(program)
        return program, said

    async def expire_leases(self) -> None:
        """Have the leases of who has died end now. Those of others end, too, and they have to stand it."""
        async with self.database.transaction() as session:
            await session.execute(_EXPIRE)

    async def kill_all(self) -> None:
        """`kill -9` of all that still run."""
        running, self.running = self.running, []
        for program in running:
            program.kill()
        for program in running:
            await asyncio.to_thread(program.wait, STOP_SECONDS)


@dataclass
class Life:
    """What a life left behind."""

    ledger: Sequence[tuple[str, str, int]]
    attempts: Sequence[str]
    events: Sequence[str]
    taken: int


@asynccontextmanager
async def replicas(backing: BackingStack, folder: Path, forker: Forker | None) -> AsyncIterator[Replicas]:
    url = await asyncio.to_thread(migrated, backing, "billing")
    database = open_database(url, pool_size=16)
    folder.mkdir()
    try:
        await load_plans(database)
        async with fake_server() as provider:
            found = Replicas(url, database, provider, folder, forker)
            try:
                yield found
            finally:
                await found.kill_all()
    finally:
        await database.close()


async def live(here: Replicas) -> Life:
    """A purchase, a renewal that is declined, and the second attempt that succeeds."""
    database = here.database
    tenant_id = await begin(database, trial_days=10)
    card = await here.provider.card("pays")
    await buy(database, here.provider.provider.name, tenant_id, card)
    active = await until(database, tenant_id, status="active")
    await here.provider.change_card(card, "declines")
    await jump(database, tenant_id, active.current_period_end)
    late = await until(database, tenant_id, status="past_due")
    await here.provider.change_card(card, "pays")
    await jump(database, tenant_id, late.next_payment_attempt_at)
    await until(database, tenant_id, status="active", payment_pending=False)
    attempts, ledger = await _books(database, tenant_id)
    events = [event.type for event in await published(database, tenant_id)]
    return Life(ledger, attempts, events, await here.provider.taken_from(card))


async def live_with(here: Replicas, **fate: Any) -> tuple[Life, bool]:
    """The same with a worker that dies then; two others race for what it left. Returns also whether it has died."""
    doomed, _ = here.start(**fate)

    async def succeed() -> None:
        await eventually(lambda: doomed.poll() is not None, seconds=WAIT_SECONDS, what="it has died")
        await here.expire_leases()
        here.start()
        here.start()

    succession = asyncio.create_task(succeed())
    try:
        return await live(here), doomed.poll() is not None
    finally:
        succession.cancel()
        await asyncio.gather(succession, return_exceptions=True)
        await here.kill_all()


def now() -> datetime:
    return datetime.now(UTC)


async def until(database: Database, tenant_id: str, **wanted: Any) -> Subscription:
    async def is_so() -> Subscription | None:
        # Asking more often would take the processor from those who do what is waited for.
        await asyncio.sleep(ASKED_EVERY_SECONDS)
        async with database.reading() as session:
            found = await subscriptions.get(session, tenant_id, now())
        return found if all(getattr(found, name) == value for name, value in wanted.items()) else None

    return await eventually(is_so, seconds=WAIT_SECONDS, what=f"the subscription is {wanted}")


async def jump(database: Database, tenant_id: str, to: datetime | None) -> None:
    """Set the tenant's clock to an instant, and leave what is due then to the workers."""
    assert to is not None
    async with database.transaction() as session:
        held = await lock_for_update(session, tenant_id)
        held.clock_offset = to - now() + timedelta(milliseconds=1)
        await save(session, [held])
        await schedule(session, [held])


@pytest.mark.fuzz
@pytest.mark.timeout(600)
async def test_a_worker_that_is_killed_at_any_commit_changes_nothing_of_the_books(
    backing: BackingStack, forker: Forker | None, tmp_path: Path
) -> None:
    async with replicas(backing, tmp_path / "first", forker) as here:
        _, said = here.start()
        expected = await live(here)
        commits = len(said.read_text().split())
    assert expected.attempts == ["succeeded", "declined", "succeeded"]
    assert expected.taken == 2 * _PRICE

    # Before one commit is after the one before it, but for what was asked of the provider in between.
    fates = [{"dies_at": n, "when": "before" if n % 2 else "after"} for n in range(1, commits + 1)]
    fates = fates[:: POINTS_APART if FACTOR == 1 else 1]
    deaths = 0

    async def live_them(lane: int) -> None:
        nonlocal deaths
        async with replicas(backing, tmp_path / f"lane-{lane}", forker) as here:
            for fate in fates[lane::LANES]:
                found, has_died = await live_with(here, **fate)
                assert found == expected, fate
                deaths += has_died

    async with asyncio.TaskGroup() as lanes:
        for lane in range(LANES):
            lanes.create_task(live_them(lane))
    # A life may have a commit less: two charges that are recorded together.
    assert deaths >= len(fates) - 2 > 1


@pytest.mark.timeout(600)
async def test_three_workers_that_race_and_are_killed_charge_each_period_once(
    backing: BackingStack, forker: Forker | None, tmp_path: Path
) -> None:
    async with replicas(backing, tmp_path / "race", forker) as here:
        for dies_at in (3, 6, 9):
            here.start(dies_at=dies_at)
        lives = asyncio.gather(*(_buy_and_renew(here) for _ in range(12)))
        deaths = 0
        while not lives.done():
            dead = [one for one in here.running if one.poll() is not None]
            here.running = [one for one in here.running if one not in dead]
            for _ in dead:
                deaths += 1
                await here.expire_leases()
                here.start()
            await asyncio.sleep(ASKED_EVERY_SECONDS)
        cards = await lives

        # How many commits each gets to is for them to race for.
        assert deaths
        for tenant_id, card in cards:
            attempts, ledger = await _books(here.database, tenant_id)
            assert attempts == ["succeeded", "succeeded"]
            assert [cause for cause, _, _ in ledger] == [*["invoice_finalized"] * 3, *["invoice_paid"] * 2] * 2
            assert await here.provider.taken_from(card) == 2 * _PRICE


async def _buy_and_renew(here: Replicas) -> tuple[str, str]:
    tenant_id, card = await begin(here.database), await here.provider.card("pays")
    await buy(here.database, here.provider.provider.name, tenant_id, card)
    bought = await until(here.database, tenant_id, status="active", payment_pending=False)
    await jump(here.database, tenant_id, bought.current_period_end)
    started_at = bought.current_period_end
    await until(here.database, tenant_id, status="active", payment_pending=False, current_period_start=started_at)
    return tenant_id, card


async def _books(database: Database, tenant_id: str) -> tuple[list[str], list[tuple[str, str, int]]]:
    async with database.reading() as session:
        ledger = [
            (row.cause, row.account, row.amount)
            for row in await session.execute(_LEDGER, {"tenant": to_uuid(tenant_id)})
        ]
        attempts = [row.state for row in await session.execute(_ATTEMPTS, {"tenant": to_uuid(tenant_id)})]
    return attempts, ledger
