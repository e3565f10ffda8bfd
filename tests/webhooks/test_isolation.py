"""No event reaches the wrong tenant, mode or location while endpoints change: compared with a model of their subscriptions."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.access.permissions import OWNER
from shared.access.principals import Caller, Principal
from shared.audit import Actor, Origin
from shared.events import jobs
from shared.ids import new_id, to_uuid
from tests.harness.effort import seeds
from tests.harness.receiver import Received, Receiver
from tests.harness.waiting import eventually
from tests.harness.webhooks import LOOPBACK, DeliveryHarness, job_created, typed
from webhooks.endpoints import operations
from webhooks.endpoints.rules import wants_type
from webhooks.endpoints.schemas import EndpointIn
from webhooks.endpoints.secrets import EndpointPolicy
from webhooks.queue import due

TENANTS = 3
LOCATIONS = 4
"""Endpoints of each tenant."""
STEPS = 120
EVENTS_AT_ONCE = 4
WISHES = (["*"], ["job.*"], ["job.created"], ["job.updated", "job.cancelled"], ["action.*"])
KINDS = (jobs.JobCreated, jobs.JobUpdated, jobs.JobCancelled)


@dataclass
class Subscription:
    """The subscription of an endpoint now, as the documentation describes it."""

    tenant_id: str
    livemode: bool
    event_types: list[str]
    locations: frozenset[str] | None
    is_on: bool = True

    def meets(self, event: jobs.JobEvent) -> bool:
        return (
            self.is_on
            and self.tenant_id == event.tenant_id
            and self.livemode == event.data.livemode
            and wants_type(self.event_types, event.type)
            and (self.locations is None or not self.locations.isdisjoint(event.data.location_ids))
        )


@dataclass
class World:
    """Tenants, their locations, and endpoints that change at any time."""

    harness: DeliveryHarness
    receiver: Receiver
    chance: random.Random
    locations: dict[str, list[str]] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """The present subscriptions, by endpoint id."""
    events: dict[str, jobs.JobEvent] = field(default_factory=dict)
    must: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The endpoints that must get an event, by event."""
    may: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The endpoints that may get an event, because they changed at the same time."""

    def some_places(self, tenant_id: str) -> list[str]:
        return self.chance.sample(self.locations[tenant_id], self.chance.choice([1, 1, 2]))

    async def add_endpoint(self) -> None:
        tenant_id = self.chance.choice(list(self.locations))
        subscription = Subscription(
            tenant_id, self.chance.random() < 0.8, self.chance.choice(WISHES), self.some_wish(tenant_id)
        )
        caller = Caller(
            "owner",
            "session",
            Principal(tenant_id=tenant_id, subject_id=new_id("usr")),
            OWNER,
            livemode=subscription.livemode,
        )
        path = f"/{len(self.subscriptions)}"
        values = {
            "url": self.receiver.url(path),
            "event_types": subscription.event_types,
            "location_ids": "*" if subscription.locations is None else sorted(subscription.locations),
            "ordered_by_job": self.chance.random() < 0.2,
        }
        policy = EndpointPolicy(self.harness.encryptor, allow_http=True, allowed_networks=LOOPBACK, endpoints_max=500)
        async with self.harness.database.transaction() as session:
            # The service learns locations from events of identity, which nothing publishes here: they are inserted directly.
            made = await operations.create(
                session,
                policy,
                Actor(caller, Origin("127.0.0.1", "req_tests")),
                EndpointIn.model_validate({**values, "location_ids": "*"}),
                datetime.now(UTC),
            )
        self.subscriptions[made.id] = Subscription(tenant_id, subscription.livemode, subscription.event_types, None)
        await self.change(made.id, subscription)

    def some_wish(self, tenant_id: str) -> frozenset[str] | None:
        return None if self.chance.random() < 0.25 else frozenset(self.some_places(tenant_id))

    async def change(self, endpoint_id: str, subscription: Subscription) -> None:
        """Change the subscription of an endpoint to this."""
        await self.harness.rows(
            "UPDATE endpoints SET event_types = :types, location_ids = :locations, enabled = :is_on, version = version + 1,"
            " updated_at = now(), disabled_reason = CASE WHEN :is_on THEN NULL ELSE 'requested' END WHERE id = :id RETURNING 1",
            id=to_uuid(endpoint_id),
            types=subscription.event_types,
            locations=None
            if subscription.locations is None
            else [to_uuid(location) for location in subscription.locations],
            is_on=subscription.is_on,
        )
        self.subscriptions[endpoint_id] = subscription

    async def change_one(self) -> None:
        endpoint_id = self.chance.choice(list(self.subscriptions))
        now = self.subscriptions[endpoint_id]
        subscription = Subscription(
            now.tenant_id,
            now.livemode,
            self.chance.choice(WISHES),
            self.some_wish(now.tenant_id),
            is_on=self.chance.random() < 0.8,
        )
        await self.change(endpoint_id, subscription)

    def some_events(self) -> list[jobs.JobEvent]:
        """Events of jobs of any tenant. A job with two locations has moved, or has a distribution centre."""
        made: list[jobs.JobEvent] = []
        for _ in range(EVENTS_AT_ONCE):
            tenant_id = self.chance.choice(list(self.locations))
            livemode = self.chance.random() < 0.8
            job = job_created(tenant_id, *self.some_places(tenant_id), livemode=livemode)
            kind = self.chance.choice(KINDS)
            made.append(kind(tenant_id=tenant_id, subject=job.subject, sequence=1, data=job.data))
        return made

    async def publish(self, dispatcher: Any, *, beside_a_change: bool) -> None:
        made = self.some_events()
        before = {event.id: self.matching_endpoints(event) for event in made}
        publishing = self.harness.publish(*made, dispatcher=dispatcher)
        if beside_a_change:
            await asyncio.gather(publishing, self.change_one())
        else:
            await publishing
        for event in made:
            after = self.matching_endpoints(event)
            self.events[event.id] = event
            self.must[event.id] = before[event.id] & after
            self.may[event.id] = before[event.id] | after

    def matching_endpoints(self, event: jobs.JobEvent) -> set[str]:
        return {endpoint_id for endpoint_id, subscription in self.subscriptions.items() if subscription.meets(event)}

    async def send_again(self) -> None:
        rows = await self.harness.rows(
            "SELECT event_id, endpoint_id FROM deliveries WHERE status <> 'pending' LIMIT 100"
        )
        if rows:
            row = self.chance.choice(rows)
            async with self.harness.database.transaction() as session:
                await due.resend(session, row.event_id, row.endpoint_id)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(3))
async def test_every_event_reaches_its_endpoints_and_no_others(
    harness: DeliveryHarness, receiver: Receiver, seed: int
) -> None:
    chance = random.Random(seed)
    world = World(harness, receiver, chance)
    world.locations = {new_id("ten"): [new_id("loc") for _ in range(LOCATIONS)] for _ in range(TENANTS)}
    receiver.answer = lambda _: 500 if chance.random() < 0.15 else 200
    other_replica = DeliveryHarness(harness.database, harness.sealing_keys)
    schedule = (0.02,) * 30

    async with harness.delivering(schedule=schedule) as worker, other_replica.delivering(schedule=schedule) as helper:
        for _ in range(8):
            await world.add_endpoint()
        for _ in range(STEPS):
            match chance.randrange(10):
                case 0:
                    await world.add_endpoint()
                case 1 | 2:
                    await world.change_one()
                case 3:
                    await world.send_again()
                case 4 | 5:
                    await world.publish(chance.choice([worker, None]), beside_a_change=True)
                case _:
                    await world.publish(chance.choice([worker, None]), beside_a_change=False)
        assert helper is not worker
        await eventually(lambda: nothing_open(harness), seconds=60, what="everything has ended")

    await check_rows(world)
    check_requests(world, {row.url.rpartition("/")[2]: row.id for row in await harness.rows("SELECT * FROM endpoints")})


async def check_rows(world: World) -> None:
    """Each event has a delivery to each endpoint that wanted it and to no other; failed ones failed because of their endpoint."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in await world.harness.rows("SELECT * FROM deliveries"):
        event_id, endpoint_id = typed("evt", row.event_id), typed("ep", row.endpoint_id)
        found[event_id].add(endpoint_id)
        assert (
            typed("ten", row.tenant_id)
            == world.events[event_id].tenant_id
            == world.subscriptions[endpoint_id].tenant_id
        )
        assert row.status == "delivered" or row.failure == "endpoint_disabled", row
    assert sum(map(len, world.must.values())) > STEPS
    for event_id in world.events:
        assert world.must[event_id] <= found[event_id] <= world.may[event_id]


def check_requests(world: World, endpoint_ids: dict[str, UUID]) -> None:
    """Each request went to an endpoint of the tenant and the locations in its body."""
    assert len(world.receiver.requests) > STEPS
    for request in world.receiver.requests:
        endpoint_id = typed("ep", endpoint_ids[request.path.rpartition("/")[2]])
        event, body = world.events[request.webhook_id], data_of(request)
        assert endpoint_id in world.may[event.id]
        assert body["tenant_id"] == world.subscriptions[endpoint_id].tenant_id
        assert body["livemode"] == world.subscriptions[endpoint_id].livemode
        assert body["location_ids"] == event.data.location_ids
        assert body["job"]["id"] == event.subject


def data_of(request: Received) -> dict[str, Any]:
    body = request.json()
    data: dict[str, Any] = body["data"]
    return data


async def nothing_open(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()
