"""Billing in the tests' own process, on a database of its own, with the events and callers of its tests."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import SecretStr
from sqlalchemy import text

from billing import payments, plans
from billing.app import create_app
from billing.config import Settings
from billing.plans import PlanFile
from billing.providers import Charge, ChargeResult, Declined, Succeeded
from billing.subscriptions import operations
from shared.events import Event, Vocabulary, identity
from shared.events import billing as events
from shared.ids import to_uuid
from shared.postgres.database import Database
from tests.harness.bodies import unique
from tests.harness.client import Api
from tests.harness.payments import FAKE_SECRET, FakeServer, fake_server
from tests.harness.people import Tenant, tenant_created
from tests.harness.services import Isolated, serve, settings_of
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

TRIAL_DAYS = 14

PLANS = Path("deploy/plans.yaml")

_BOOKS = text(
    """
    WITH mine AS (SELECT * FROM invoices WHERE tenant_id = :tenant),
        entries AS (SELECT * FROM ledger_entries WHERE tenant_id = :tenant)
    SELECT (SELECT count(*) - coalesce(max(number), 0) FROM mine) AS gaps,
        (SELECT count(*) FROM (SELECT FROM entries GROUP BY posting_id HAVING sum(amount) <> 0) AS wrong) AS unbalanced,
        (SELECT coalesce(sum(total), 0) FROM mine) AS invoiced,
        (SELECT coalesce(sum(total), 0) FROM mine WHERE status = 'paid') AS paid,
        (SELECT coalesce(sum(amount), 0) FROM credit_notes WHERE tenant_id = :tenant) AS credited,
        (SELECT coalesce(sum(total), 0) FROM mine WHERE status = 'open') AS open,
        (SELECT coalesce(sum(total - credit_applied), 0) FROM mine WHERE status = 'open') AS due,
        (SELECT coalesce(sum(amount), 0) FROM entries WHERE account = 'receivable') AS receivable,
        (SELECT coalesce(sum(amount), 0) FROM entries WHERE account = 'cash') AS cash,
        (SELECT coalesce(sum(amount), 0) FROM charge_attempts WHERE tenant_id = :tenant AND state = 'succeeded') AS charged,
        (SELECT coalesce(sum(total - credit_applied), 0) FROM mine WHERE status = 'paid' AND NOT EXISTS (
            SELECT FROM charge_attempts WHERE invoice_id = mine.id AND state = 'succeeded')) AS by_hand
    """
)
_OUTBOX = text("SELECT headers, value FROM outbox WHERE key = :key ORDER BY id")


async def begin_trials(database: Database, count: int, *, ends_in: timedelta) -> dict[str, datetime]:
    """Tenants whose trials end after that time, all at once: their ids, each with the end."""
    ends_at = datetime.now(UTC) + ends_in
    created = [tenant_created(trial_days=1, at=ends_at - timedelta(days=1)) for _ in range(count)]
    async with database.transaction() as session:
        await operations.start_trials(session, created, default_days=TRIAL_DAYS)
    return {event.subject: ends_at for event in created}


async def begin_trial(database: Database, *, ends_in: timedelta) -> tuple[str, datetime]:
    """A tenant whose trial ends after that time: its id, and the end."""
    (trial,) = (await begin_trials(database, 1, ends_in=ends_in)).items()
    return trial


async def published(database: Database, tenant_id: str) -> list[Event]:
    """What was published of a tenant, in order (from a database that nothing relays from)."""
    vocabulary = Vocabulary(*events.EVENTS)
    async with database.reading() as session:
        rows = (await session.execute(_OUTBOX, {"key": tenant_id})).all()
    found = [vocabulary.read(dict(headers), value) for headers, value in rows]
    return [event for event in found if event is not None]


async def check_books(database: Database, tenant_id: str) -> None:
    """Money is conserved: what was invoiced is paid, credited or open; numbers have no gap; every posting balances."""
    async with database.reading() as session:
        found = (await session.execute(_BOOKS, {"tenant": to_uuid(tenant_id)})).one()
    assert found.gaps == 0
    assert found.unbalanced == 0
    assert found.invoiced == found.paid + found.credited + found.open
    assert (found.receivable, found.cash) == (found.due, found.charged + found.by_hand)


class Billing(Isolated[Settings]):
    """A running billing service, and tenants whose trials it has started."""

    name = "billing"
    published_events = events.EVENTS
    provider: "ScriptedProvider"
    pages: FakeServer
    """The provider of its settings, on whose pages payment methods are given."""

    async def add_payment_method(self, tenant: Tenant) -> str:
        """A payment method of the scripted provider, which is charged from now on; returns the provider's id of it."""
        reference = unique("card")
        async with self.database.transaction() as session:
            await payments.add_method(
                session,
                tenant.id,
                provider=self.provider.name,
                reference=reference,
                label="Visa •••• 4242",
                livemode=True,
                now=datetime.now(UTC),
            )
        return reference

    async def take_notification(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Receive a notification of the provider; the status of the answer."""
        path = "/v1/billing/providers/fake/notifications"
        return (await self.client.post(path, content=body, headers=dict(headers))).status_code

    async def until(self, tenant: Tenant, **wanted: Any) -> dict[str, Any]:
        """The subscription, once it is like this."""

        async def is_so() -> dict[str, Any] | None:
            found = await self.subscription(tenant)
            return found if all(found[name] == value for name, value in wanted.items()) else None

        return await eventually(is_so, what=f"the subscription is {wanted}")

    async def advance(self, tenant: Tenant, to: datetime) -> None:
        """Move the tenant's test clock; returns when it is ready."""
        await tenant.owner.create("/v1/billing/test-clock/advance", {"to": to.isoformat()})

        async def ready() -> bool:
            return bool((await tenant.owner.read("/v1/billing/test-clock"))["status"] == "ready")

        await eventually(ready, what=f"the clock shows {to}")

    async def invoices(self, tenant: Tenant) -> list[dict[str, Any]]:
        """The tenant's invoices, newest first."""
        found: list[dict[str, Any]] = (await tenant.owner.read("/v1/billing/invoices"))["data"]
        return found

    async def check_books(self, tenant: Tenant) -> None:
        """Money is conserved: see `check_books`."""
        await check_books(self.database, tenant.id)

    async def create_tenant(self, created: identity.TenantCreated | None = None, **more: Any) -> Tenant:
        """A tenant that billing knows, with its subscription."""
        tenant = await self.people.create_tenant(created, ends_in=None, **more)

        async def has_subscription() -> bool:
            return (await self.platform(tenant).get("/v1/billing/subscription")).status_code == 200

        await eventually(has_subscription, what="the trial has started")
        return tenant

    async def subscription(self, tenant: Tenant) -> dict[str, Any]:
        """The subscription, as an operator sees it."""
        return await self.platform(tenant).read("/v1/billing/subscription")

    async def extend(
        self, tenant_id: str, ends_at: object, *, operator: Api | None = None, **options: Any
    ) -> httpx.Response:
        """Ask, as an operator, for another end of the trial."""
        body = {"trial_ends_at": ends_at.isoformat() if isinstance(ends_at, datetime) else ends_at}
        path = f"/v1/billing/tenants/{tenant_id}/trial/extend"
        return await (operator or self.platform()).post(path, body, **options)


@asynccontextmanager
async def running(backing: BackingStack) -> AsyncIterator[Billing]:
    """Billing in all its roles, which has plans, a scripted provider, the platform key and the signing key of sessions."""
    provider = ScriptedProvider()
    async with fake_server() as pages:
        settings = await settings_of(
            backing,
            "billing",
            Settings,
            trial_days=TRIAL_DAYS,
            test_clock_services="",
            payment_provider="fake",
            fake_provider_url=pages.url,
            fake_provider_secret=SecretStr(FAKE_SECRET),
        )
        async with serve(Billing, partial(create_app, others={provider.name: provider}), settings) as service:
            service.provider, service.pages = provider, pages
            pages.take = service.take_notification
            await load_plans(service.database)
            await service.people.introduce()
            yield service


async def load_plans(database: Database) -> None:
    """Load the file of plans that Waybill comes with."""
    async with database.transaction() as session:
        await plans.load(session, PlanFile.model_validate(yaml.safe_load(PLANS.read_text())), datetime.now(UTC))


class ScriptedProvider:
    """A provider that answers as a test says, charge by charge, and otherwise takes the amount. It keeps what it took, by key."""

    name = "scripted"

    def __init__(self) -> None:
        self.taken: dict[str, Charge] = {}
        self.keys: list[str] = []
        self._answers: dict[str, ChargeResult] = {}
        self._script: dict[str, list[ChargeResult | Exception]] = defaultdict(list)

    def answer(self, method: str, *results: ChargeResult | Exception) -> None:
        """Answer the next charges of this method so; an exception is raised instead."""
        self._script[method] += results

    def forget(self) -> None:
        """Know no charge any more."""
        self._answers.clear()

    def taken_of(self, tenant: Tenant) -> int:
        """What was taken from a tenant, in minor units."""
        return sum(charge.amount for charge in self.taken.values() if charge.tenant_id == tenant.id)

    async def charge(self, charge: Charge) -> ChargeResult:
        self.keys.append(charge.key)
        if (known := await self.look_up(charge)) is not None:
            return known
        script = self._script[charge.method]
        result = script.pop(0) if script else Succeeded(f"pay_{charge.key}")
        if isinstance(result, TimedOutAfterwards | Succeeded):
            self.taken[charge.key] = charge
            self._answers[charge.key] = Succeeded(f"pay_{charge.key}")
        if isinstance(result, Declined):
            self._answers[charge.key] = result
        if isinstance(result, Hangs):
            await asyncio.Event().wait()
        if isinstance(result, Exception):
            raise result
        return result

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        return self._answers.get(charge.key)


class Hangs(Exception):
    """The provider accepts the call, and never answers."""


class TimedOutAfterwards(Exception):
    """The provider took the amount, and nobody heard of it."""
