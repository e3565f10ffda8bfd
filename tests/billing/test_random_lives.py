"""Random lives of tenants on a real database: whatever follows on what, the books add up, and what was published is what there is.

Commands, instants and the provider's answers come in any order: twice, late, or long after the invoice was void. The same machine without
a database has more histories in `test_histories.py`; workers that die are in `test_crashes.py`.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices, payment_methods, payments, subscriptions
from billing.providers import Charge, ChargeResult, Declined, Succeeded, Unknown
from billing.subscriptions.queries import LockedSubscription
from shared.access.principals import Caller, Principal
from shared.api import ANY_VERSION
from shared.audit import Actor, Origin
from shared.errors import WaybillError
from shared.events.billing import ACCESS_EVENTS, SubscriptionState, TrialExpired
from shared.ids import from_uuid, to_uuid
from shared.postgres.database import Database
from tests.harness.billing import check_books, load_plans, published
from tests.harness.billing_life import begin
from tests.harness.bodies import unique
from tests.harness.effort import seeds

STEPS = 40
PLANS = ("starter_monthly", "pro_monthly", "starter_yearly", "pro_yearly")
_UNDER_WAY = text("SELECT id, state FROM charge_attempts WHERE tenant_id = :tenant AND settled_at IS NULL")
_NUMBERS = text("SELECT number FROM invoices WHERE tenant_id = :tenant ORDER BY id")
_TAKEN = text("SELECT sum(amount) FROM charge_attempts WHERE tenant_id = :tenant AND state = 'succeeded'")
Move = Callable[[AsyncSession], Awaitable[object]]


@dataclass
class Life:
    """One tenant, its payment provider, and the instant that it is for everybody."""

    database: Database
    chance: random.Random
    tenant_id: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    answers: dict[str, tuple[Charge, ChargeResult]] = field(default_factory=dict)
    """What the provider has decided, by the key of the charge."""
    revivals: int = 0
    """Trials that were expired and run again."""

    @property
    def owner(self) -> Actor:
        principal = Principal(subject_id="usr_owner", tenant_id=self.tenant_id)
        return Actor(Caller("owner", "session", principal, frozenset(), livemode=False), Origin("127.0.0.1", "req_1"))

    async def subscription(self) -> LockedSubscription:
        async with self.database.transaction() as session:
            return await subscriptions.lock_for_update(session, self.tenant_id)

    async def step(self) -> None:
        """A command of somebody, what the worker does, and some time."""
        plan, at, days = self.chance.choice(PLANS), self.now, timedelta(days=self.chance.randint(1, 9))
        who = (self.owner, self.tenant_id, ANY_VERSION)
        moves: list[tuple[int, Move]] = [
            (4, lambda s: subscriptions.subscribe(s, *who, plan, payment_method=None, expected_amount_due=None, at=at)),
            (3, lambda s: subscriptions.change(s, *who, plan, expected_amount_due=None, at=at)),
            (1, lambda s: subscriptions.cancel(s, *who, at_once=False, at=at)),
            (1, lambda s: subscriptions.cancel(s, *who, at_once=True, at=at)),
            (1, lambda s: subscriptions.resume(s, *who, at)),
            (1, lambda s: subscriptions.grant(s, *who, plan, at + days, at)),
            (1, lambda s: subscriptions.extend_trial(s, *who, at + days, at)),
            (2, self._give_card),
            (1, self._delete_card),
            (2, self._of_open_invoice(subscriptions.pay_invoice)),
            (3, self._of_open_invoice(subscriptions.mark_paid)),
        ]
        (move,) = self.chance.choices([move for _, move in moves], [weight for weight, _ in moves])
        await self._command(move)
        if self.chance.random() < 0.7:
            await self.charge()
        await self.wait(timedelta(days=self.chance.choice((0, 0, 1, 3, 10, 31))))
        await self.turn_clock_back()

    async def _command(self, move: Move) -> None:
        """Do it, or be refused, which changes nothing."""
        before = await self.subscription()
        try:
            async with self.database.transaction() as session:
                await move(session)
        except WaybillError:
            assert await self.subscription() == before
        else:
            after = (await self.subscription()).terms
            self.revivals += (before.terms.status, after.status) == ("expired", "trialing")

    async def wait(self, time: timedelta) -> None:
        """Let time pass. The worker looks at each instant, or only at the end."""
        target, is_late = self.now + time, self.chance.random() < 0.5
        due_at = (await self._work()).get(self.tenant_id)
        while self.now < target:
            self.now = target if is_late or due_at is None else min(max(self.now, due_at), target)
            due_at = (await self._work()).get(self.tenant_id)

    async def turn_clock_back(self) -> None:
        """A worker whose clock is behind finds nothing to do."""
        before = await self.subscription()
        await self._work(self.now - timedelta(days=self.chance.randint(1, 400)))
        assert await self.subscription() == before

    async def _work(self, at: datetime | None = None) -> dict[str, datetime]:
        async with self.database.transaction() as session:
            return await subscriptions.do_what_is_due(session, [self.tenant_id], at or self.now)

    async def charge(self) -> bool:
        """Make the charges that are under way, as the worker does; answers come twice, or not yet. Returns whether there were any."""
        async with self.database.reading() as session:
            under_way = (await session.execute(_UNDER_WAY, {"tenant": to_uuid(self.tenant_id)})).all()
        for row in under_way:
            attempt_id, terms = from_uuid("cha", row.id), (await self.subscription()).terms
            async with self.database.transaction() as session:
                sent = await payments.send(session, attempt_id, self.now)
            if sent is None:
                continue
            assert row.state != "new" or terms.payment_pending, "nothing new is charged of what is not due"
            result = self._ask(sent[1])
            for _ in range(self.chance.choice((1, 2))):
                async with self.database.transaction() as session:
                    await subscriptions.record_charge(session, self.tenant_id, attempt_id, result, self.now)
        return bool(under_way)

    def _ask(self, charge: Charge) -> ChargeResult:
        lost = Unknown("no answer")
        if charge.key not in self.answers:
            if self.chance.random() < 0.1:
                return lost
            decided = (Succeeded(charge.key), Succeeded(charge.key), Declined("empty"), Declined("lost", is_final=True))
            self.answers[charge.key] = charge, self.chance.choice(decided)
        return lost if self.chance.random() < 0.2 else self.answers[charge.key][1]

    async def _give_card(self, session: AsyncSession) -> None:
        reference, provider = unique("card"), "of this life"
        await payment_methods.give(
            session, self.tenant_id, provider=provider, reference=reference, label="", livemode=False, at=self.now
        )

    async def _delete_card(self, session: AsyncSession) -> None:
        method = await payments.default_method(session, self.tenant_id)
        if method is not None:
            await payment_methods.delete(session, self.owner, method.id, ANY_VERSION, self.now)

    def _of_open_invoice(self, operation: Callable[..., Awaitable[object]]) -> Move:
        async def move(session: AsyncSession) -> None:
            invoice = await invoices.get_open(session, self.tenant_id)
            if invoice is not None:
                await operation(session, self.owner, self.tenant_id, invoice.id, ANY_VERSION, self.now)

        return move

    async def check(self) -> None:
        """What no order of things may break."""
        await check_books(self.database, self.tenant_id)
        terms = (await self.subscription()).terms
        events = await published(self.database, self.tenant_id)
        told = [event.data for event in events if isinstance(event, ACCESS_EVENTS)][-1]
        assert isinstance(told, SubscriptionState)
        assert (told.status, told.access_until) == (terms.status, terms.access_until), (
            "every service decides by what is"
        )
        expired = sum(isinstance(event, TrialExpired) for event in events)
        assert expired == self.revivals + (terms.trial_outcome == "expired"), "each end of a trial is told once"
        values = {"tenant": to_uuid(self.tenant_id)}
        async with self.database.reading() as session:
            numbers = (await session.execute(_NUMBERS, values)).scalars().all()
            taken = (await session.execute(_TAKEN, values)).scalar_one()
        assert list(numbers) == list(range(1, len(numbers) + 1))
        by_provider = [charge for charge, result in self.answers.values() if isinstance(result, Succeeded)]
        assert (taken or 0) == sum(charge.amount for charge in by_provider)
        assert len({charge.invoice_id for charge in by_provider}) == len(by_provider), "no invoice is charged twice"


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(4))
async def test_no_order_of_commands_instants_and_answers_breaks_the_books(database: Database, seed: int) -> None:
    await load_plans(database)
    chance = random.Random(seed)
    life = Life(database, chance, await begin(database, trial_days=chance.choice((0, 5, 14))))

    for _ in range(STEPS):
        await life.step()
        await check_books(database, life.tenant_id)
    while await life.charge():
        pass

    await life.check()
