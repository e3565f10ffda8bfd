"""Nothing goes to the wrong tenant, mode or location, whatever changes while events flow: compared with a model of who wants what."""

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
from shared.events import jobs
from shared.ids import new_id, to_uuid
from tests.support.effort import seeds
from tests.support.receiver import Received, Receiver
from tests.support.suite import eventually
from tests.support.webhooks import LOOPBACK, DeliveryHarness, job_created, typed
from webhooks.endpoints import operations
from webhooks.endpoints.rules import wants_type
from webhooks.endpoints.schemas import EndpointIn
from webhooks.endpoints.secrets import EndpointPolicy
from webhooks.queue import due

TENANTS = 3
PLACES = 4
"""Of each tenant."""
STEPS = 120
EVENTS_AT_ONCE = 4
WISHES = (["*"], ["job.*"], ["job.created"], ["job.updated", "job.cancelled"], ["endpoint.*"])
KINDS = (jobs.JobCreated, jobs.JobUpdated, jobs.JobCancelled)


@dataclass
class Wish:
    """What an endpoint wants at this moment, in the words of the documentation."""

    tenant_id: str
    livemode: bool
    event_types: list[str]
    places: frozenset[str] | None
    is_on: bool = True

    def meets(self, event: jobs.JobEvent) -> bool:
        return (
            self.is_on
            and self.tenant_id == event.tenant_id
            and self.livemode == event.data.livemode
            and wants_type(self.event_types, event.type)
            and (self.places is None or not self.places.isdisjoint(event.data.location_ids))
        )


@dataclass
class World:
    """Tenants, their places, and endpoints that anybody may change at any time."""

    harness: DeliveryHarness
    receiver: Receiver
    chance: random.Random
    places: dict[str, list[str]] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)
    """By endpoint id, as they are."""
    events: dict[str, jobs.JobEvent] = field(default_factory=dict)
    must: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By event: the endpoints that have to get it."""
    may: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By event: those that are allowed to, because they changed at the same time."""

    def some_places(self, tenant_id: str) -> list[str]:
        return self.chance.sample(self.places[tenant_id], self.chance.choice([1, 1, 2]))

    async def add_endpoint(self) -> None:
        tenant_id = self.chance.choice(list(self.places))
        wish = Wish(tenant_id, self.chance.random() < 0.8, self.chance.choice(WISHES), self.some_wish(tenant_id))
        caller = Caller(
            "owner", "session", Principal(tenant_id=tenant_id, subject_id=new_id("usr")), OWNER, livemode=wish.livemode
        )
        path = f"/{len(self.wishes)}"
        values = {
            "url": self.receiver.url(path),
            "event_types": wish.event_types,
            "location_ids": "*" if wish.places is None else sorted(wish.places),
            "ordered_by_job": self.chance.random() < 0.2,
        }
        policy = EndpointPolicy(self.harness.encryptor, allow_http=True, allowed_networks=LOOPBACK, endpoints_max=500)
        async with self.harness.database.transaction() as session:
            # Places are known to the service by identity's facts, which nobody sends here: they are put in behind its back.
            made = await operations.create(
                session,
                policy,
                caller,
                EndpointIn.model_validate({**values, "location_ids": "*"}),
                datetime.now(UTC),
            )
        self.wishes[made.id] = Wish(tenant_id, wish.livemode, wish.event_types, None)
        await self.change(made.id, wish)

    def some_wish(self, tenant_id: str) -> frozenset[str] | None:
        return None if self.chance.random() < 0.25 else frozenset(self.some_places(tenant_id))

    async def change(self, endpoint_id: str, wish: Wish) -> None:
        """Have an endpoint want this from now on."""
        await self.harness.rows(
            "UPDATE endpoints SET event_types = :types, location_ids = :places, enabled = :is_on, version = version + 1,"
            " updated_at = now(), disabled_reason = CASE WHEN :is_on THEN NULL ELSE 'requested' END WHERE id = :id RETURNING 1",
            id=to_uuid(endpoint_id),
            types=wish.event_types,
            places=None if wish.places is None else [to_uuid(place) for place in wish.places],
            is_on=wish.is_on,
        )
        self.wishes[endpoint_id] = wish

    async def change_one(self) -> None:
        endpoint_id = self.chance.choice(list(self.wishes))
        now = self.wishes[endpoint_id]
        wish = Wish(
            now.tenant_id,
            now.livemode,
            self.chance.choice(WISHES),
            self.some_wish(now.tenant_id),
            is_on=self.chance.random() < 0.8,
        )
        await self.change(endpoint_id, wish)

    def some_events(self) -> list[jobs.JobEvent]:
        """Facts of jobs of any tenant; one with two places has moved, or has a distribution centre."""
        made: list[jobs.JobEvent] = []
        for _ in range(EVENTS_AT_ONCE):
            tenant_id = self.chance.choice(list(self.places))
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
        return {endpoint_id for endpoint_id, wish in self.wishes.items() if wish.meets(event)}

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
async def test_everything_goes_where_it_belongs_and_nowhere_else(
    harness: DeliveryHarness, receiver: Receiver, seed: int
) -> None:
    chance = random.Random(seed)
    world = World(harness, receiver, chance)
    world.places = {new_id("ten"): [new_id("loc") for _ in range(PLACES)] for _ in range(TENANTS)}
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
    """Each event has a delivery for each endpoint that wanted it, and for no other; what was given up was given up for its endpoint."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in await world.harness.rows("SELECT * FROM deliveries"):
        event_id, endpoint_id = typed("evt", row.event_id), typed("ep", row.endpoint_id)
        found[event_id].add(endpoint_id)
        assert typed("ten", row.tenant_id) == world.events[event_id].tenant_id == world.wishes[endpoint_id].tenant_id
        assert row.status == "delivered" or row.failure == "endpoint_disabled", row
    assert sum(map(len, world.must.values())) > STEPS
    for event_id in world.events:
        assert world.must[event_id] <= found[event_id] <= world.may[event_id]


def check_requests(world: World, endpoint_ids: dict[str, UUID]) -> None:
    """Each request went to an endpoint of the tenant and the places in its own body."""
    assert len(world.receiver.requests) > STEPS
    for request in world.receiver.requests:
        endpoint_id = typed("ep", endpoint_ids[request.path.rpartition("/")[2]])
        event, body = world.events[request.webhook_id], data_of(request)
        assert endpoint_id in world.may[event.id]
        assert body["tenant_id"] == world.wishes[endpoint_id].tenant_id
        assert body["livemode"] == world.wishes[endpoint_id].livemode
        assert body["location_ids"] == event.data.location_ids
        assert body["job"]["id"] == event.subject


def data_of(request: Received) -> dict[str, Any]:
    body = request.json()
    data: dict[str, Any] = body["data"]
    return data


async def nothing_open(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()
