"""Billing in the tests' own process, on a database of its own, with the events and callers of its tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text

from billing.app import create_app
from billing.config import Settings
from billing.subscriptions import operations
from shared.events import Event, Vocabulary, identity
from shared.events import billing as events
from shared.postgres.database import Database
from tests.harness.client import Api
from tests.harness.people import Tenant, tenant_created
from tests.harness.services import Isolated, serve, settings_of
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

TRIAL_DAYS = 14

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


class Billing(Isolated[Settings]):
    """A running billing service, and tenants whose trials it has started."""

    name = "billing"
    published_events = events.EVENTS

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
    """Billing in all its roles, which knows the platform key and the signing key of sessions."""
    settings = await settings_of(backing, "billing", Settings, trial_days=TRIAL_DAYS)
    async with serve(Billing, create_app, settings) as service:
        await service.people.introduce()
        yield service
