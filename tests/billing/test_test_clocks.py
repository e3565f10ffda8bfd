"""Test clocks: a tenant's own time, moved through everything that becomes due on the way."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from billing import test_clocks
from billing.providers import Declined
from billing.test_clocks.consumer import on_reports
from shared.events.receipts import AppliedRevocation, ReplicaReport, ReplicaReported
from shared.ids import new_id
from shared.postgres.database import Database
from tests.harness.billing import Billing
from tests.harness.billing_life import OWNER, begin
from tests.harness.client import refused
from tests.harness.people import Tenant, tenant_created

CLOCK = "/v1/billing/test-clock"
SUBSCRIPTION = "/v1/billing/subscription"
DAY = timedelta(days=1)


async def with_clock(billing: Billing, *, trial_days: int = 14) -> Tenant:
    tenant = await billing.create_tenant(tenant_created(trial_days=trial_days, test=True))
    await tenant.owner.create(CLOCK)
    return tenant


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_clock_moves_through_what_is_due_in_its_order(billing: Billing) -> None:
    tenant = await with_clock(billing)
    card = await billing.add_payment_method(tenant)
    trial_ends_at = at((await billing.subscription(tenant))["trial_ends_at"])

    await billing.advance(tenant, trial_ends_at + DAY)
    expired = await billing.subscription(tenant)
    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    active = await billing.until(tenant, status="active")
    billing.provider.answer(card, *[Declined("insufficient_funds")] * 3)
    period_ends_at = at(active["current_period_end"])
    await billing.advance(tenant, period_ends_at + 3 * DAY)
    past_due = await billing.subscription(tenant)
    await billing.advance(tenant, period_ends_at + 15 * DAY)
    recovered = await billing.subscription(tenant)

    assert (expired["status"], expired["entitled"]) == ("expired", False)
    assert (past_due["status"], past_due["entitled"]) == ("past_due", True)
    failed_at = at(past_due["next_payment_attempt_at"]) - 7 * DAY
    assert timedelta() <= failed_at - period_ends_at < timedelta(minutes=5)
    assert (recovered["status"], recovered["access_until"]) == ("active", None)
    assert timedelta(days=27) < at(recovered["current_period_end"]) - period_ends_at < timedelta(days=32)
    found = await billing.events(
        tenant.id,
        "trial.started",
        "trial.will_end",
        "trial.will_end",
        "trial.expired",
        "subscription.updated",  # arrived
        "invoice.finalized",
        "subscription.updated",
        "subscription.activated",
        "invoice.paid",
        "invoice.finalized",
        "subscription.updated",  # renewed
        "payment.failed",
        "subscription.past_due",
        "payment.failed",  # on the second day
        "subscription.updated",
        "subscription.updated",  # arrived
        "payment.failed",  # on the seventh day
        "subscription.updated",
        "subscription.recovered",  # on the fourteenth day
        "invoice.paid",
        "subscription.updated",  # arrived
    )
    assert [event.sequence for event in found] == sorted(event.sequence for event in found)
    offset = timedelta(seconds=found[-1].data.clock_offset_seconds)
    assert abs(datetime.now(UTC) + offset - (period_ends_at + 15 * DAY)) < timedelta(minutes=5)
    await billing.check_books(tenant)


async def test_a_payment_that_never_succeeds_ends_access_on_the_22nd_day_and_can_be_made_good(billing: Billing) -> None:
    tenant = await with_clock(billing, trial_days=0)
    card = await billing.add_payment_method(tenant)
    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    active = await billing.until(tenant, status="active")
    billing.provider.answer(card, *[Declined("insufficient_funds")] * 5)

    renewed_at = at(active["current_period_end"])
    await billing.advance(tenant, renewed_at + 20 * DAY)
    grace = await billing.subscription(tenant)
    await billing.advance(tenant, renewed_at + 60 * DAY)
    unpaid = await billing.subscription(tenant)
    (invoice,) = [one for one in await billing.invoices(tenant) if one["status"] == "open"]
    await tenant.owner.create(f"/v1/billing/invoices/{invoice['id']}/pay")
    good = await billing.until(tenant, status="active", payment_pending=False)

    assert (grace["status"], grace["entitled"]) == ("past_due", True)
    assert (unpaid["status"], unpaid["entitled"]) == ("unpaid", False)
    assert unpaid["allowed_transitions"] == ["cancel", "pay"]
    # There was no access meanwhile: the period that was paid begins now.
    assert at(good["current_period_end"]) > renewed_at + 85 * DAY
    await billing.check_books(tenant)


async def test_cancelling_ends_dunning_and_what_was_due_is_void(billing: Billing) -> None:
    tenant = await with_clock(billing, trial_days=0)
    card = await billing.add_payment_method(tenant)
    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    active = await billing.until(tenant, status="active")
    billing.provider.answer(card, *[Declined("insufficient_funds")] * 9)
    renewed_at = at(active["current_period_end"])
    await billing.advance(tenant, renewed_at + DAY)
    charged = len(billing.provider.keys)

    canceled = await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {})
    await billing.advance(tenant, renewed_at + 100 * DAY)

    assert (canceled["status"], canceled["entitled"]) == ("canceled", False)
    assert len(billing.provider.keys) == charged
    void, paid = await billing.invoices(tenant)
    assert (void["status"], void["credit_note"]["number"], void["credit_note"]["amount"]) == ("void", "CRN-0001", 5145)
    assert paid["status"] == "paid"
    await billing.check_books(tenant)


async def test_a_purchase_that_nobody_pays_is_void_after_its_time(billing: Billing) -> None:
    tenant = await with_clock(billing, trial_days=30)
    bought = await tenant.owner.create(SUBSCRIPTION, {"plan": "pro_monthly"})

    await billing.advance(tenant, at(bought["payment_due_at"]))

    lapsed = await billing.subscription(tenant)
    assert (lapsed["status"], lapsed["plan"], lapsed["entitled"]) == ("trialing", None, True)
    assert [invoice["status"] for invoice in await billing.invoices(tenant)] == ["void"]
    await billing.advance(tenant, at(bought["trial_ends_at"]))
    assert (await billing.subscription(tenant))["status"] == "expired"
    await billing.check_books(tenant)


async def test_a_downgrade_begins_with_the_next_period_and_a_cancellation_ends_with_it(billing: Billing) -> None:
    tenant = await with_clock(billing, trial_days=0)
    await billing.add_payment_method(tenant)
    await tenant.owner.create(SUBSCRIPTION, {"plan": "pro_monthly"})
    active = await billing.until(tenant, status="active")
    await tenant.owner.create(f"{SUBSCRIPTION}/change", {"plan": "starter_monthly"})

    await billing.advance(tenant, at(active["current_period_end"]) + DAY)
    cheaper = await billing.until(tenant, payment_pending=False)
    await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {})
    await billing.advance(tenant, at(cheaper["current_period_end"]))
    ended = await billing.subscription(tenant)

    assert (cheaper["plan"], cheaper["next_plan"]) == ("starter_monthly", None)
    assert [invoice["subtotal"] for invoice in await billing.invoices(tenant)] == [4900, 14900]
    assert (ended["status"], ended["access_until"]) == ("canceled", cheaper["current_period_end"])
    await billing.check_books(tenant)


async def test_a_clock_goes_forward_only_and_not_too_far(billing: Billing) -> None:
    tenant = await with_clock(billing)
    now = datetime.now(UTC)

    for to in (now - DAY, now + 900 * DAY):
        refused(await tenant.owner.post(f"{CLOCK}/advance", {"to": to.isoformat()}), 422, "test_clock_target_refused")

    assert (await tenant.owner.read(CLOCK))["status"] == "ready"


async def test_a_live_tenant_has_no_clock(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    body: dict[str, Any] = {"to": (datetime.now(UTC) + DAY).isoformat()}

    refused(await tenant.owner.post(CLOCK), 403, "test_clock_live_tenant")
    refused(await tenant.owner.get(CLOCK), 404, "test_clock_not_found")
    refused(await tenant.owner.post(f"{CLOCK}/advance", body), 404, "test_clock_not_found")


# -- when it is ready --------------------------------------------------------------------------------------------------

MEMORY = timedelta(seconds=2)
"""How long a replica goes by what it knew."""
Report = Callable[..., Awaitable[None]]


@pytest.fixture
async def moved(database: Database) -> tuple[str, Report]:
    """A clock that has arrived, which nobody has acknowledged; and how a replica of jobs reports, with it or without."""
    tenant_id, now = await begin(database, trial_days=14), datetime.now(UTC)
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM replicas"))
        await test_clocks.create(session, OWNER, tenant_id, now)
    async with database.transaction() as session:
        await test_clocks.advance(session, OWNER, tenant_id, now + DAY, now)
    async with database.transaction() as session:
        await test_clocks.work(session, tenant_id, ["jobs"], now, forgotten_after=MEMORY)
        row = await session.get_one(test_clocks.TestClockRow, tenant_id)
        event_id = row.arrival_event
    assert event_id is not None
    async with database.transaction() as session:
        # Nothing relays here: it has all been published.
        await session.execute(text("DELETE FROM outbox"))

    async def report(name: str, *, applied: bool = False, stopping: bool = False, ago: timedelta = timedelta()) -> None:
        noted = [AppliedRevocation(revocation_id=new_id("rev"), event_id=event_id, applied_at=now)] if applied else []
        data = ReplicaReport(service="jobs", replica=name, started_at=now, stopping=stopping, applied=noted)
        event = ReplicaReported(tenant_id=None, subject=f"jobs/{name}", sequence=0, data=data, time=now - ago)
        async with database.transaction() as session:
            await on_reports(session, [event])

    return tenant_id, report


async def is_ready(database: Database, tenant_id: str, *, after: timedelta = timedelta()) -> bool:
    now = datetime.now(UTC)
    async with database.transaction() as session:
        await test_clocks.work(session, tenant_id, ["jobs"], now + after, forgotten_after=MEMORY)
        return (await test_clocks.get(session, tenant_id, now)).status == "ready"


async def test_a_clock_is_ready_when_every_replica_goes_by_the_new_time(
    database: Database, moved: tuple[str, Report]
) -> None:
    tenant_id, report = moved
    await report("a")
    await report("b")
    await report("gone", ago=timedelta(minutes=5))
    await report("stopped")
    await report("stopped", stopping=True)

    assert not await is_ready(database, tenant_id)
    await report("a", applied=True)
    assert not await is_ready(database, tenant_id), "b may still go by the time of before"
    await report("b", applied=True)
    assert await is_ready(database, tenant_id)


async def test_a_replica_that_does_not_report_is_waited_for_as_long_as_it_may_remember(
    database: Database, moved: tuple[str, Report]
) -> None:
    tenant_id, report = moved
    await report("a", applied=True)
    await report("b")

    assert not await is_ready(database, tenant_id)
    assert not await is_ready(database, tenant_id, after=MEMORY / 2)
    assert await is_ready(database, tenant_id, after=MEMORY + timedelta(seconds=1))
