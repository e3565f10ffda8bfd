"""Webhooks in the tests' own process: the whole service, or its dispatcher alone, and receivers that are real HTTP servers.

As a program (`python -m tests.harness.webhooks <database URL> <sealing keys> [<tenant> <events>]`) this is a worker that fans out events of
its own and attempts what is due: kill it.
"""

import asyncio
import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from shared.access import tokens
from shared.access.credentials import Peppers, new_api_key
from shared.access.permissions import OWNER
from shared.access.principals import Caller, Principal
from shared.api.cursors import LIMIT_MAX
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.events import Event, billing, identity, jobs
from shared.ids import from_uuid, new_id, to_uuid
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness import stack
from tests.harness.stack import BackingStack
from tests.harness.suite import eventually, own_topics
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
from webhooks.http_client.rules import parse_networks
from webhooks.http_client.sender import Sender
from webhooks.queue.leases import LeasedDelivery
from webhooks.replays.operations import ReplayLimits

LOOPBACK = parse_networks("127.0.0.0/8")
SCHEDULE = (0.05, 0.1, 0.2)
BATCH = 50
REPLAY_LIMITS = ReplayLimits(running_max=10, rate_per_second=100.0)


def secret_32() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


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


async def migrated(backing: BackingStack) -> str:
    """The URL of a new database with webhooks' tables."""
    return await asyncio.to_thread(stack.migrated, backing, "webhooks")


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

    @property
    def encryptor(self) -> Encryptor:
        return Encryptor(parse_keys(self.sealing_keys))

    @property
    def caller(self) -> Caller:
        principal = Principal(tenant_id=self.tenant_id, subject_id=new_id("usr"))
        return Caller("owner", "session", principal, OWNER, livemode=True)

    async def endpoint(self, url: str, **more: Any) -> str:
        """A new endpoint for everything, unless told otherwise; its id."""
        wanted = EndpointIn.model_validate({"url": url, "event_types": ["*"], "location_ids": "*", **more})
        policy = EndpointPolicy(self.encryptor, allow_http=True, allowed_networks=LOOPBACK, endpoints_max=50)
        async with self.database.transaction() as session:
            return (await operations.create(session, policy, self.caller, wanted, datetime.now(UTC))).id

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
        """What was published and not relayed: `type` and data of each."""
        rows = await self.rows("SELECT headers, value FROM outbox ORDER BY id")
        return [{"type": dict(row.headers)["ce_type"], **json.loads(row.value)} for row in rows]


def open_database(url: str) -> Database:
    """A database as a replica has it. Events stay in the outbox, because there is no relay."""
    database = Database(url, application_name="webhooks-test", pool_size=8)
    outbox.attach(database, None)
    return database


# -- the whole service -------------------------------------------------------------------------------------------------


class Webhooks:
    """A running service: its HTTP client, its topics, and callers."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, producer: AIOKafkaProducer):
        self.settings = settings
        self.client = client
        self._producer = producer
        self._signing_key = Ed25519PrivateKey.generate()
        self._signing_key_id = secrets.token_hex(8)

    async def publish(self, *events: Event) -> None:
        """Publish events to Kafka, as the services that own them would."""
        for event in events:
            await self.publish_record(event.topic, event.subject, event.headers(), event.value())

    async def publish_record(self, topic: str, key: str, headers: Sequence[tuple[str, bytes]], value: bytes) -> None:
        topic = f"{self.settings.kafka_prefix}{topic}"
        await self._producer.send_and_wait(topic, value, key=key.encode(), headers=list(headers))

    async def published(self, topic: str, key: str, *, count: int) -> list[tuple[dict[str, str], bytes]]:
        """Headers and values of the first `count` records of a key."""
        found: list[tuple[dict[str, str], bytes]] = []
        consumer = AIOKafkaConsumer(
            f"{self.settings.kafka_prefix}{topic}",
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                while len(found) < count:
                    record = await consumer.getone()
                    if record.key == key.encode():
                        found.append(({name: value.decode() for name, value in record.headers}, record.value))
        finally:
            await consumer.stop()
        return found

    async def introduce(self) -> None:
        """Make the signing key of sessions known."""
        state = identity.SigningKeyState(
            key_id=self._signing_key_id, algorithm=tokens.ALGORITHM, public_key=tokens.public_text(self._signing_key)
        )
        await self.publish(identity.SigningKeyPublished(tenant_id=None, subject=state.key_id, sequence=1, data=state))

    async def tenant(self, *, test: bool = False) -> "Tenant":
        """A tenant on trial with an owner who can call."""
        tenant_id = new_id("ten")
        state = identity.TenantState(
            tenant_id=tenant_id,
            name=f"Livraisons {tenant_id[-8:]}",
            status="active",
            country="CA",
            timezone="America/Montreal",
            currency="CAD",
            test=test,
            owner_id=new_id("usr"),
        )
        until = datetime.now(UTC) + timedelta(days=14)
        trial = billing.SubscriptionState(
            tenant_id=tenant_id, status="trialing", trial_ends_at=until, access_until=until
        )
        await self.publish(
            identity.TenantCreated(tenant_id=tenant_id, subject=tenant_id, sequence=1, data=state),
            billing.TrialStarted(tenant_id=tenant_id, subject=tenant_id, sequence=1, data=trial),
        )
        owner = await self.person(tenant_id, kind="owner", livemode=not test)
        return Tenant(self, tenant_id, owner, livemode=not test)

    async def person(
        self, tenant_id: str, *, kind: str = "staff", permissions: Sequence[str] = (), livemode: bool = True
    ) -> dict[str, str]:
        """Headers of a new owner's or staff member's session; returns when the service knows the person and what the tenant may use."""
        user = identity.UserState(
            user_id=new_id("usr"),
            tenant_id=tenant_id,
            kind=kind,
            status="active",
            permissions=list(permissions),
            sessions_valid_from=datetime.now(UTC) - timedelta(minutes=1),
        )
        await self.publish(identity.UserCreated(tenant_id=tenant_id, subject=user.user_id, sequence=1, data=user))
        return await self._known(self._session(user.user_id, tenant_id, livemode=livemode))

    async def merchant(self, tenant_id: str, location_id: str) -> tuple[dict[str, str], dict[str, str]]:
        """Headers of a new merchant's pair, and of its own session."""
        peppers = Peppers(parse_keys(self.settings.key_peppers.get_secret_value()))
        key = new_api_key(livemode=True)
        account_id = new_id("acct")
        digest = identity.DigestState(digest=peppers.digest(key), pepper_version=peppers.current_version)
        merchant = identity.MerchantState(
            merchant_id=new_id("mer"),
            tenant_id=tenant_id,
            business_name="Boulangerie",
            level=2,
            status="active",
            api_access=True,
            location_ids=[location_id],
            default_location_id=location_id,
            sessions_valid_from=datetime.now(UTC) - timedelta(minutes=1),
            pair=identity.PairState(account_id=account_id, livemode=True, digests=[digest]),
        )
        await self.publish(
            identity.MerchantCreated(tenant_id=tenant_id, subject=merchant.merchant_id, sequence=1, data=merchant)
        )
        basic = base64.b64encode(f"{account_id}:{key}".encode()).decode()
        pair = await self._known({"Authorization": f"Basic {basic}"})
        return pair, self._session(merchant.merchant_id, tenant_id, livemode=True)

    def _session(self, subject_id: str, tenant_id: str, *, livemode: bool) -> dict[str, str]:
        now = datetime.now(UTC)
        claims = tokens.Claims(subject_id, tenant_id, new_id("ses"), now, now + timedelta(minutes=5), livemode=livemode)
        token = tokens.sign(claims, key_id=self._signing_key_id, private_key=self._signing_key)
        return {"Authorization": f"Bearer {token}"}

    async def _known(self, headers: dict[str, str]) -> dict[str, str]:
        async def answers() -> bool:
            answer = await self.client.get("/v1/permissions", headers=headers)
            # Who somebody is and what the tenant has subscribed to come by topics of their own.
            return answer.status_code == 200 and answer.json()["subscription"]["entitled"] is True

        await eventually(answers, seconds=30, what="webhooks knows the caller")
        return headers


@dataclass
class Tenant:
    """A tenant as its owner uses webhooks."""

    service: Webhooks
    id: str
    owner: dict[str, str]
    livemode: bool

    async def location(self) -> str:
        """A new location that webhooks knows."""
        location_id = new_id("loc")
        state = identity.LocationState(
            location_id=location_id,
            tenant_id=self.id,
            type="branch",
            name="Montréal",
            timezone="America/Montreal",
            active=True,
            is_default=False,
        )
        await self.service.publish(
            identity.LocationCreated(tenant_id=self.id, subject=location_id, sequence=1, data=state)
        )

        async def known() -> bool:
            body = {"url": "https://example.com", "event_types": ["*"], "location_ids": [location_id]}
            answer = await self.call("POST", "/v1/webhook-endpoints", json={**body, "enabled": False})
            if answer.status_code == 201:
                await self.call("DELETE", f"/v1/webhook-endpoints/{answer.json()['id']}")
            return answer.status_code == 201

        await eventually(known, what="webhooks knows the location")
        return location_id

    async def call(
        self, method: str, path: str, *, caller: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        headers = {**(caller or self.owner), **more.pop("headers", {})}
        return await self.service.client.request(method, path, headers=headers, **more)

    async def endpoint(self, url: str = "https://example.com/hooks", **more: Any) -> dict[str, Any]:
        """A new endpoint for everything, unless told otherwise."""
        body = {"url": url, "event_types": ["*"], "location_ids": "*", **more}
        answer = await self.call("POST", "/v1/webhook-endpoints", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def publish_job(self, *location_ids: str, livemode: bool | None = None) -> jobs.JobCreated:
        """Publish the event of a new job, as the jobs service does."""
        event = job_created(self.id, *location_ids, livemode=self.livemode if livemode is None else livemode)
        await self.service.publish(event)
        return event

    async def deliveries(self, query: str = "") -> list[dict[str, Any]]:
        answer = await self.call("GET", f"/v1/deliveries{query}")
        assert answer.status_code == 200, answer.text
        listed: list[dict[str, Any]] = answer.json()["data"]
        return listed

    async def delivered(self, count: int) -> list[dict[str, Any]]:
        """Its deliveries, once so many at least are delivered: what a receiver has is recorded a moment later."""

        async def listed() -> list[dict[str, Any]] | None:
            found = await self.deliveries(f"?status=delivered&limit={LIMIT_MAX}")
            return found if len(found) >= count else None

        return await eventually(listed, what=f"{count} are delivered")


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Webhooks]:
    """The service in all its roles, from the start of its parts to their stop."""
    url = await migrated(backing)
    prefix = await own_topics(backing)
    bootstrap = backing.kafka_bootstrap
    values: dict[str, Any] = {
        "database_url": url,
        "kafka_bootstrap_servers": bootstrap,
        "kafka_prefix": prefix,
        "key_peppers": f"1:{secret_32()}",
        "secret": secret_32(),
        "sealing_keys": f"1:{secret_32()}",
        "allow_http": True,
        "allowed_private_networks": "127.0.0.0/8",
        "retry_schedule_seconds": "0.05,0.1,0.2,0.4",
        **more,
    }
    settings = Settings(**values)
    app = create_app(settings)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhooks") as client,
        ):
            service = Webhooks(settings, client, producer)
            await service.introduce()
            yield service
    finally:
        await producer.stop()


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
