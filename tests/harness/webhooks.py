"""Webhooks in the tests' own process: the whole service, or its dispatcher alone, and receivers that are real HTTP servers.

As a program (`python -m tests.harness.webhooks <database URL> <sealing keys> [<tenant> <events>]`) this is a worker that fans out events of
its own and attempts what is due: kill it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared.access.permissions import OWNER
from shared.access.principals import Caller, Principal
from shared.api.cursors import LIMIT_MAX
from shared.audit import Actor, Origin
from shared.chassis.networks import parse_networks
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.events import Event, jobs, text_headers
from shared.events import webhooks as webhook_events
from shared.ids import from_uuid, new_id, to_uuid
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness import people
from tests.harness.bodies import secret_32
from tests.harness.services import Isolated, open_database, serve, settings_of
from tests.harness.stack import BackingStack, migrated
from tests.harness.waiting import eventually
from webhooks.app import create_app
from webhooks.config import Settings
from webhooks.dispatch.dispatcher import Dispatcher
from webhooks.dispatch.throttle import ThrottleLimits
from webhooks.endpoints import operations
from webhooks.endpoints.cache import EndpointCache
from webhooks.endpoints.rules import DisablePolicy
from webhooks.endpoints.schemas import EndpointIn
from webhooks.endpoints.secrets import EndpointPolicy
from webhooks.events import consumer as events_consumer
from webhooks.events.fan_out import IncomingEvent, store_and_route
from webhooks.http_client.sender import Sender
from webhooks.queue.leases import LeasedDelivery
from webhooks.replays.operations import ReplayLimits

LOOPBACK = parse_networks("127.0.0.0/8")
SCHEDULE = (0.05, 0.1, 0.2)
BATCH = 50
REPLAY_LIMITS = ReplayLimits(running_max=10, rate_per_second=100.0, kept=timedelta(days=30))


# -- events ------------------------------------------------------------------------------------------------------------


def job_created(
    tenant_id: str, *location_ids: str, livemode: bool = True, reference_id: str | None = None
) -> jobs.JobCreated:
    """The event that a job was created at the first of these locations."""
    job_id = new_id("job")
    now = datetime.now(UTC)
    locations = list(location_ids) or [new_id("loc")]
    job = jobs.JobState(
        id=job_id,
        merchant_id=new_id("mer"),
        reference_id=reference_id,
        status="new",
        type="delivery",
        contact=jobs.ContactState(first_name="Ada", phone="+15145550100"),
        address=jobs.AddressState(raw="1 Rue Sherbrooke, Montréal"),
        location_id=locations[0],
        created_by=new_id("usr"),
        livemode=livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )
    change = jobs.JobChange(tenant_id=tenant_id, location_ids=locations, sequence=1, livemode=livemode, job=job)
    return jobs.JobCreated(tenant_id=tenant_id, subject=job_id, sequence=1, data=change)


def headers_of(event: Event) -> dict[str, str]:
    """The envelope as a consumer reads it."""
    return {name: value.decode() for name, value in event.headers()}


def incoming_event(event: Event) -> IncomingEvent:
    """The event as the fan-out reads it."""
    incoming = events_consumer.read_event(headers_of(event), event.value())
    assert incoming is not None
    return incoming


# -- the dispatcher without Kafka ----------------------------------------------------------------------------------------


@dataclass
class DeliveryHarness:
    """One database, an administrator of a tenant in it, and dispatchers on demand: one replica of webhooks each."""

    database: Database
    sealing_keys: str
    tenant_id: str = field(default_factory=lambda: new_id("ten"))
    endpoint_cache: EndpointCache = field(init=False)
    """What its dispatchers share."""

    def __post_init__(self) -> None:
        self.endpoint_cache = EndpointCache(self.encryptor)

    @classmethod
    async def on_new_database(cls, backing: BackingStack) -> "DeliveryHarness":
        """A harness with a database of its own, which is to be closed."""
        url = await asyncio.to_thread(migrated, backing, "webhooks")
        return cls(open_database(url), f"1:{secret_32()}")

    @property
    def encryptor(self) -> Encryptor:
        return Encryptor(parse_keys(self.sealing_keys))

    @property
    def caller(self) -> Caller:
        principal = Principal(tenant_id=self.tenant_id, subject_id=new_id("usr"))
        return Caller("owner", "session", principal, OWNER, livemode=True)

    @property
    def actor(self) -> Actor:
        return Actor(self.caller, Origin("127.0.0.1", "req_tests"))

    async def endpoint(self, url: str, **more: Any) -> str:
        """A new endpoint for everything, unless `more` says otherwise; its id."""
        wanted = EndpointIn.model_validate({"url": url, "event_types": ["*"], "location_ids": "*", **more})
        policy = EndpointPolicy(self.encryptor, allow_http=True, allowed_networks=LOOPBACK, endpoints_max=50)
        async with self.database.transaction() as session:
            return (await operations.create(session, policy, self.actor, wanted, datetime.now(UTC))).id

    async def publish(
        self, *events: Event, dispatcher: Dispatcher | None = None, room: Callable[[UUID], int] | None = None
    ) -> list[LeasedDelivery]:
        """Fan events out; a dispatcher takes over what it has room for, else all of it (beyond `room`) waits in the queue."""
        room = room or (dispatcher.room if dispatcher is not None else lambda _: 0)
        incoming_events = [incoming_event(event) for event in events]
        async with self.database.transaction() as session:
            begun = dispatcher.prestore.begun if dispatcher is not None else lambda _: ()
            found = await store_and_route(
                session, incoming_events, endpoint_cache=self.endpoint_cache, room=room, lease_seconds=8, begun=begun
            )
        if dispatcher is not None:
            dispatcher.accept(found)
            dispatcher.wake()
        return found.leased

    async def arrive(self, *events: Event, dispatcher: Dispatcher) -> None:
        """Give a dispatcher new events that are not stored yet, once the endpoint cache is current."""

        async def knows_endpoints() -> bool:
            (changes,) = await self.rows("SELECT last_value FROM endpoint_changes")
            return self.endpoint_cache.is_current and self.endpoint_cache.last_change == changes.last_value

        await eventually(knows_endpoints, what="the endpoint cache is current")
        events_consumer.on_new_events(endpoint_cache=self.endpoint_cache, dispatcher=dispatcher)(
            [incoming_event(event) for event in events]
        )

    async def publish_job(self, dispatcher: Dispatcher | None = None) -> str:
        """One new job; the id of its event."""
        event = job_created(self.tenant_id)
        await self.publish(event, dispatcher=dispatcher)
        return event.id

    def dispatcher(self, **more: Any) -> Dispatcher:
        """Another replica's dispatcher, with short delays by default."""
        sender = Sender(
            timeout_seconds=more.pop("timeout_seconds", 30),
            connect_timeout_seconds=10,
            allowed_networks=LOOPBACK,
        )
        options: dict[str, Any] = {
            "schedule": SCHEDULE,
            "in_flight_max": 64,
            "endpoint_in_flight_max": 16,
            "lease_seconds": 8.0,
            "poll_seconds": 0.02,
            "disable_policy": DisablePolicy(432_000, 20),
            **more,
        }
        options["limits"] = ThrottleLimits(window_max=options["endpoint_in_flight_max"])
        if "breaker_failures" in options:
            options["limits"] = ThrottleLimits(
                window_max=options["endpoint_in_flight_max"],
                breaker_failures=options.pop("breaker_failures"),
                pause_seconds=options.pop("pause_seconds", 0.2),
                pause_seconds_max=options.pop("pause_seconds_max", 5.0),
            )
        return Dispatcher(self.database, Metrics("webhooks"), sender, self.endpoint_cache, **options)

    @asynccontextmanager
    async def delivering(self, **more: Any) -> AsyncIterator[Dispatcher]:
        """A dispatcher at work beside the block, stopped in order after it."""
        dispatcher = self.dispatcher(**more)
        await self.know_endpoints()
        listening = asyncio.create_task(self.endpoint_cache.run(self.database))
        task = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0)
        try:
            yield dispatcher
        finally:
            task.cancel()
            await asyncio.wait({task})
            listening.cancel()
            await asyncio.wait({listening})

    async def know_endpoints(self) -> None:
        """Load the endpoint cache without waiting for a notification."""
        self.endpoint_cache.last_change = None
        async with self.database.reading() as session:
            await self.endpoint_cache.load(session)

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.reading() as session:
            return list((await session.execute(text(statement), values)).all())

    async def delivery(self, event_id: str, endpoint_id: str | None = None) -> Any:
        """The one delivery of an event (to an endpoint); None while it is in a batch lease."""
        rows = await self.rows(
            "SELECT * FROM deliveries WHERE event_id = :event_id AND endpoint_id = coalesce(:endpoint_id, endpoint_id)",
            event_id=to_uuid(event_id),
            endpoint_id=to_uuid(endpoint_id) if endpoint_id else None,
        )
        assert len(rows) <= 1, rows
        return rows[0] if rows else None

    async def finished(self, event_id: str, *, seconds: float = 30) -> Any:
        """The one delivery of an event, once it is delivered or given up."""

        async def ended() -> Any:
            row = await self.delivery(event_id)
            return row if row is not None and row.finished_at else None

        return await eventually(ended, seconds=seconds, what="the delivery has ended")

    async def queued(self) -> list[Any]:
        return await self.rows("SELECT * FROM delivery_due")

    async def batch_leases(self) -> list[Any]:
        return await self.rows("SELECT * FROM flights")

    async def attempts(self, delivery: Any) -> list[Any]:
        """Every attempt of a delivery: those in the log, and the last, which stands in its own row."""
        return await self.rows(
            "SELECT number, response_status, cause FROM attempts WHERE event_id = :event_id AND endpoint_id = :endpoint_id"
            " UNION ALL SELECT attempts_made, response_status, cause FROM deliveries"
            " WHERE event_id = :event_id AND endpoint_id = :endpoint_id AND attempts_made > 0 ORDER BY number",
            event_id=delivery.event_id,
            endpoint_id=delivery.endpoint_id,
        )

    async def published(self) -> list[dict[str, Any]]:
        """What was published of endpoints and not relayed: `type` and data of each."""
        rows = await self.rows(
            "SELECT headers, value FROM outbox WHERE topic = :topic ORDER BY id", topic=webhook_events.TOPIC
        )
        return [{"type": dict(row.headers)["ce_type"], **json.loads(row.value)} for row in rows]


# -- the whole service -------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Tenant(people.Tenant):
    """A tenant, the events of its jobs, and its deliveries."""

    service: "Webhooks"

    async def publish_job(
        self, *location_ids: str, livemode: bool | None = None, reference_id: str | None = None
    ) -> jobs.JobCreated:
        """Publish the event of a new job, as the jobs service does."""
        livemode = not self.document["test"] if livemode is None else livemode
        event = job_created(self.id, *location_ids, livemode=livemode, reference_id=reference_id)
        await self.service.publish(event)
        return event

    async def deliveries(self, query: str = "") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self.owner.read(f"/v1/deliveries{query}"))["data"]
        return listed

    async def delivered(self, count: int) -> list[dict[str, Any]]:
        """Its deliveries, once so many at least are delivered: what a receiver has is recorded a moment later."""

        async def listed() -> list[dict[str, Any]] | None:
            found = await self.deliveries(f"?status=delivered&limit={LIMIT_MAX}")
            return found if len(found) >= count else None

        return await eventually(listed, what=f"{count} are delivered")


class Webhooks(Isolated[Settings]):
    """The running service in all its roles."""

    name = "webhooks"
    published_events = webhook_events.EVENTS

    async def create_tenant(self, **more: Any) -> Tenant:
        """A tenant on trial with an owner who can call."""
        return Tenant(**vars(await self.people.create_tenant(**more)), service=self)

    async def published(self, topic: str, key: str, *, count: int) -> list[tuple[dict[str, str], bytes]]:
        """Headers and values of the first `count` records of a key."""
        records = await self.records(topic, lambda record: record.key == key.encode(), count=count)
        return [(text_headers(record.headers), record.value) for record in records]


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Webhooks]:
    """The service with its own database, which knows the signing key of sessions."""
    values: dict[str, Any] = {
        "sealing_keys": f"1:{secret_32()}",
        "allow_http": True,
        "allowed_private_networks": "127.0.0.0/8",
        "retry_schedule_seconds": "0.05,0.1,0.2,0.4",
        **more,
    }
    async with serve(Webhooks, create_app, await settings_of(backing, "webhooks", Settings, **values)) as service:
        await service.people.introduce()
        yield service


def typed(prefix: str, value: UUID) -> str:
    return from_uuid(prefix, value)


async def _work(url: str, sealing_keys: str, tenant_id: str = "", events: str = "0") -> None:
    """Attempt what is due, and before that fan out so many events of a tenant, in batches, into this worker's own hands."""
    harness = DeliveryHarness(open_database(url), sealing_keys, *([tenant_id] if tenant_id else []))
    dispatcher = harness.dispatcher(lease_seconds=3.0, in_flight_max=256, endpoint_in_flight_max=192)
    await harness.know_endpoints()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await asyncio.sleep(0)
        for _ in range(int(events) // BATCH):
            await harness.publish(*(job_created(harness.tenant_id) for _ in range(BATCH)), dispatcher=dispatcher)


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
