"""The jobs service in the process of the tests, and tenants with the locations that its tests need."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from jobs.app import create_app
from jobs.config import Settings
from shared.access.credentials import new_api_key
from shared.events import Event, identity
from shared.events import jobs as job_events
from shared.ids import to_uuid
from tests.harness import people
from tests.harness.client import Api
from tests.harness.people import Merchant
from tests.harness.services import Isolated, serve, settings_of
from tests.harness.stack import BackingStack


@dataclass(kw_only=True)
class Tenant(people.Tenant):
    """A tenant with three locations: Montréal (the default one), Toronto, and one that is not active."""

    service: "Jobs"
    toronto: str
    closed: str

    async def create_merchant(self, **more: Any) -> Merchant:
        """A merchant with all locations."""
        locations = [self.default_location, self.toronto, self.closed]
        return await super().create_merchant(**{"location_ids": locations, **more})

    async def create_user(
        self,
        kind: str = "staff",
        *,
        permissions: Sequence[str] = (),
        livemode: bool = True,
        scopes: Sequence[str] = ("orders",),
    ) -> Api:
        """A user's API key with that user's permissions, as far as the key's scopes go."""
        key = new_api_key(livemode=livemode)
        user = await self.create_staff(*permissions, kind=kind)
        source = self.service.people
        await source.publish(
            source.key_issued("user_key", key, tenant_id=self.id, user_id=user.subject_id, scopes=list(scopes))
        )
        return user.using({"X-Api-Key": key})


class Jobs(Isolated[Settings]):
    """The running service and what tests do with it."""

    name = "jobs"
    published_events = job_events.EVENTS

    async def create_tenant(self) -> Tenant:
        """A new tenant on trial, with its locations."""
        tenant = await self.people.create_tenant()
        toronto = await tenant.create_location(timezone="America/Toronto")
        closed = await tenant.create_location(timezone="America/Halifax", active=False)
        return Tenant(**vars(tenant), service=self, toronto=toronto, closed=closed)

    async def _knows(self, event: Event) -> bool:
        if not await super()._knows(event):
            return False
        if not isinstance(event, identity.TenantEvent):
            return True
        async with self.database.reading() as session:
            statement = text("SELECT version FROM tenant_settings WHERE tenant_id = :id")
            known = (await session.execute(statement, {"id": to_uuid(event.subject)})).scalar_one_or_none()
        return known is not None and known >= event.sequence

    async def count(self, merchant: Merchant) -> int:
        """The number of stored jobs of the merchant."""
        async with self.database.reading() as session:
            statement = text("SELECT count(*) FROM jobs WHERE merchant_id = :merchant_id")
            found = await session.execute(statement, {"merchant_id": to_uuid(merchant.id)})
            return int(found.scalar_one())

    async def published(self, tenant: people.Tenant, count: int) -> list[Event]:
        """The first `count` events of this tenant on the topic of jobs."""
        about = tenant.id.encode()
        records = await self.records(job_events.TOPIC, lambda record: about in record.value, count=count)
        found = [self.read(record) for record in records]
        assert [record.key for record in records] == [event.subject.encode() for event in found]
        assert {event.tenant_id for event in found} <= {tenant.id}
        return found


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Jobs]:
    """The running service with its own database, which knows the platform key and the signing key of identity."""
    settings = await settings_of(backing, "jobs", Settings, **more)
    async with serve(Jobs, create_app, settings) as service:
        await service.people.introduce()
        yield service
