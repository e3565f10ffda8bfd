"""A service in the tests' own process, on a database, topics and secrets of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from fastapi import FastAPI
from sqlalchemy import text

from shared.access.credentials import Peppers
from shared.chassis.settings import parse_keys
from shared.events import Event, Vocabulary, audit, billing, identity, text_headers
from shared.events.audit import AuditRecorded, AuditState
from shared.ids import to_uuid
from shared.messaging import outbox
from shared.messaging.shard_publisher import SEPARATE_SHARD
from shared.postgres.database import Database
from shared.service.settings import ServiceSettings
from tests.harness.bodies import SIGNING_ROOT, secret_32
from tests.harness.client import Api
from tests.harness.people import FromEvents, Tenant
from tests.harness.stack import BackingStack, migrated, own_topics
from tests.harness.waiting import WAIT_SECONDS, eventually

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)
ServiceT = TypeVar("ServiceT", bound="Running[Any]")

_KNOWN = text(
    """
    SELECT count(*) FROM (
        SELECT version FROM access_tenants WHERE tenant_id = :uuid
        UNION ALL SELECT version FROM access_subjects WHERE subject_id = :uuid
        UNION ALL SELECT version FROM access_locations WHERE location_id = :uuid
        UNION ALL SELECT version FROM access_credentials WHERE credential_id = :id
        UNION ALL SELECT version FROM access_signing_keys WHERE key_id = :id
    ) AS known WHERE version >= :version
    """
)
_ENTITLED = text("SELECT count(*) FROM access_entitlements WHERE tenant_id = :uuid AND version >= :version")


class Running(Generic[SettingsT]):
    """A running service, and what tests do around it: call it, publish events to it, read what it published."""

    name: ClassVar[str]
    published_events: ClassVar[Sequence[type[Event]]]

    def __init__(
        self,
        app: FastAPI,
        settings: SettingsT,
        client: httpx.AsyncClient,
        producer: AIOKafkaProducer,
        database: Database,
    ) -> None:
        self.app = app
        self.settings = settings
        self.client = client
        self.database = database
        self.nobody = Api(client)
        self._producer = producer

    async def publish_record(self, topic: str, key: str, headers: Sequence[tuple[str, bytes]], value: bytes) -> None:
        """Publish one record under the prefix of the service."""
        topic = f"{self.settings.kafka_prefix}{topic}"
        await self._producer.send_and_wait(topic, value, key=key.encode(), headers=list(headers))

    async def publish(self, *events: Event) -> None:
        """Publish events to Kafka, as the services that own them would."""
        for event in events:
            await self.publish_record(event.topic, event.subject, event.headers(), event.value())

    @asynccontextmanager
    async def consuming(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of all that a topic has and will have."""
        consumer = AIOKafkaConsumer(
            f"{self.settings.kafka_prefix}{topic}",
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def records(
        self, topic: str, wanted: Callable[["ConsumerRecord[bytes, bytes]"], bool], *, count: int
    ) -> list["ConsumerRecord[bytes, bytes]"]:
        """The first `count` records of a topic that are wanted."""
        found: list[ConsumerRecord[bytes, bytes]] = []
        async with self.consuming(topic) as consumer, asyncio.timeout(WAIT_SECONDS):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += filter(wanted, records)
        return found

    async def events(self, subject: str, *types: str) -> list[Event]:
        """The first events of an aggregate that the service published, as many as `types`, which they must have."""
        records = await self.records(
            self.published_events[0].topic, lambda record: record.key == subject.encode(), count=len(types)
        )
        found = [self.read(record) for record in records[: len(types)]]
        assert [event.type for event in found] == list(types)
        return found

    async def audited(self, target: str, *actions: str) -> list[AuditState]:
        """The first audit events about a record that the service published, as many as `actions`, which they must have."""
        records = await self.records(audit.TOPIC, lambda record: record.key == target.encode(), count=len(actions))
        found = [AuditState.model_validate_json(record.value or b"") for record in records[: len(actions)]]
        assert [state.action for state in found] == list(actions)
        return found

    def read(self, record: "ConsumerRecord[bytes, bytes]") -> Event:
        """A record that the service published."""
        event = Vocabulary(*self.published_events).read(text_headers(record.headers), record.value)
        assert event is not None
        return event


class Isolated(Running[SettingsT]):
    """A running service that knows tenants and their people by the events of identity and billing."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        peppers = Peppers(parse_keys(self.settings.key_peppers.get_secret_value()))
        self.people = FromEvents(self.nobody, peppers, self.publish_access)

    def platform(self, tenant: Tenant | None = None) -> Api:
        """A caller with the platform key, in this tenant."""
        return self.people.platform if tenant is None else self.people.platform.in_tenant(tenant.id)

    async def publish_access(self, *events: Event) -> None:
        """Publish access events; returns when they are in the service's tables (its cache can take a moment longer)."""
        await self.publish(*events)
        for event in events:
            await self.until_known(event)

    async def until_known(self, event: Event) -> None:
        """Returns when this access event, or a later one of its subject, is in the service's tables."""
        await eventually(partial(self._knows, event), what=f"{event.type} is known")

    async def _knows(self, event: Event) -> bool:
        statement = _ENTITLED if isinstance(event, billing.BillingEvent) else _KNOWN
        uuid = None if isinstance(event, identity.SigningKeyPublished) else to_uuid(event.subject)
        async with self.database.reading() as session:
            found = await session.execute(statement, {"uuid": uuid, "id": event.subject, "version": event.sequence})
            return bool(found.scalar_one())


def open_database(url: str, *, pool_size: int = 8, **more: Any) -> Database:
    """A database as a replica has it, whose events stay in the outbox, because there is no relay."""
    database = Database(url, application_name="tests", pool_size=pool_size, **more)
    outbox.attach(database, None)
    return database


async def waiting_audit_events(database: Database) -> list[AuditRecorded]:
    """The audit events in an outbox without a relay, in order."""
    async with database.reading() as session:
        rows = await session.execute(
            text("SELECT shard, headers, value FROM outbox WHERE topic = :topic ORDER BY id"), {"topic": audit.TOPIC}
        )
        found = rows.all()
    assert {row.shard for row in found} <= {SEPARATE_SHARD}
    return [AuditRecorded.from_record(dict(row.headers), row.value) for row in found]


async def settings_of(
    backing: BackingStack, service: str, kind: type[SettingsT], *, without_topics: Collection[str] = (), **more: Any
) -> SettingsT:
    """Settings with a new database, new topics (but these) and new secrets."""
    values: dict[str, Any] = {
        "database_url": await asyncio.to_thread(migrated, backing, service),
        "kafka_bootstrap_servers": backing.kafka_bootstrap,
        "kafka_prefix": await own_topics(backing, without=without_topics),
        "key_peppers": f"1:{secret_32()}",
        "secret": secret_32(),
        "signing_roots": SIGNING_ROOT.public_text,
        **more,
    }
    return kind(**values)


@asynccontextmanager
async def serve(
    service: type[ServiceT], create_app: Callable[[Any], FastAPI], settings: ServiceSettings
) -> AsyncIterator[ServiceT]:
    """A service, from the start of its parts to their stop."""
    app = create_app(settings)
    # Tests write more rows with one statement than a service does.
    database = Database(settings.database_url, application_name="tests", pool_size=4, statement_timeout_ms=60_000)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, enable_idempotence=True)
    await producer.start()
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url=f"http://{service.name}", timeout=30
            ) as client,
        ):

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(ready, what=f"{service.name} is ready")
            yield service(app, settings, client, producer, database)
    finally:
        await producer.stop()
        await database.close()
