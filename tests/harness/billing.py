"""Billing in the tests' own process, on a database of its own, with the events and callers of its tests.

As a program (`python -m tests.harness.billing <database URL>`) this is a worker that takes what is due and never commits: kill it.
"""

import asyncio
import base64
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing.app import create_app
from billing.config import Settings
from billing.subscriptions import operations
from billing.subscriptions.worker import TimerWorker
from shared.access import tokens
from shared.access.credentials import Peppers, new_api_key
from shared.chassis.settings import parse_keys
from shared.events import Event, Vocabulary, identity, text_headers
from shared.events import billing as events
from shared.ids import new_id
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness import stack
from tests.harness.stack import BackingStack
from tests.harness.suite import eventually

TRIAL_DAYS = 14
TAKEN = "taken"

_OUTBOX = text("SELECT headers, value FROM outbox WHERE key = :key ORDER BY id")


def tenant_created(
    *, tenant_id: str | None = None, trial_days: int | None = None, at: datetime | None = None, test: bool = False
) -> identity.TenantCreated:
    """The event of a new tenant, created now unless `at` says otherwise."""
    tenant_id = tenant_id or new_id("ten")
    state = identity.TenantState(
        tenant_id=tenant_id,
        name=f"Livraisons {tenant_id[-6:]}",
        status="active",
        country="CA",
        timezone="America/Montreal",
        currency="CAD",
        test=test,
        trial_days=trial_days,
        owner_id=new_id("usr"),
    )
    return identity.TenantCreated(
        tenant_id=tenant_id, subject=tenant_id, sequence=1, time=at or datetime.now(UTC), data=state
    )


def open_database(url: str) -> Database:
    """A database as a replica of billing has it: events go to the outbox and stay there, because nothing relays them."""
    database = Database(url, application_name="billing-test", pool_size=4)
    outbox.attach(database, None)
    return database


async def migrated(backing: BackingStack) -> str:
    """The URL of a new database with billing's tables."""
    return await asyncio.to_thread(stack.migrated, backing, "billing")


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


class Billing:
    """A running billing service: HTTP in, events in and out, and people who call it."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, producer: AIOKafkaProducer):
        self.settings = settings
        self.client = client
        self._producer = producer
        self._signing_key = Ed25519PrivateKey.generate()
        self._signing_key_id = secrets.token_hex(8)
        self._platform_key = new_api_key(livemode=False)

    async def publish(self, *events: Event) -> None:
        """Publish events to Kafka, in place of the services that own them."""
        for event in events:
            topic = f"{self.settings.kafka_prefix}{event.topic}"
            await self._producer.send_and_wait(
                topic, event.value(), key=event.subject.encode(), headers=event.headers()
            )

    async def introduce(self) -> None:
        """Make the signing key of sessions and a platform key known; returns when billing knows them."""
        signing = identity.SigningKeyState(
            key_id=self._signing_key_id, algorithm=tokens.ALGORITHM, public_key=tokens.public_text(self._signing_key)
        )
        await self.publish(
            identity.SigningKeyPublished(tenant_id=None, subject=signing.key_id, sequence=1, data=signing)
        )
        await self.issue_platform_key(self._platform_key)

    async def issue_platform_key(self, platform_key: str) -> str:
        """Make a platform key known; its id. Returns when billing knows it."""
        peppers = Peppers(parse_keys(self.settings.key_peppers.get_secret_value()))
        digest = identity.DigestState(digest=peppers.digest(platform_key), pepper_version=peppers.current_version)
        key = identity.CredentialState(
            credential_id=new_id("key"),
            kind="platform_key",
            name="operator",
            scopes=["platform", "billing"],
            active=True,
            livemode=False,
            digests=[digest],
        )
        await self.publish(identity.CredentialIssued(tenant_id=None, subject=key.credential_id, sequence=1, data=key))

        async def known() -> bool:
            answer = await self.client.get("/v1/auth/test", headers={"X-Api-Key": platform_key})
            return answer.status_code == 200

        await eventually(known, seconds=30, what="billing knows the platform key")
        return key.credential_id

    def operator(self, tenant_id: str | None = None) -> dict[str, str]:
        """Headers of a platform operator, perhaps in a tenant."""
        named = {"X-Tenant-Id": tenant_id} if tenant_id else {}
        return {"X-Api-Key": self._platform_key, **named}

    async def person(self, tenant_id: str, *, kind: str = "owner", permissions: Sequence[str] = ()) -> dict[str, str]:
        """Headers of a new owner's or staff member's session; returns when billing knows the person."""
        user_id = new_id("usr")
        now = datetime.now(UTC)
        user = identity.UserState(
            user_id=user_id,
            tenant_id=tenant_id,
            kind=kind,
            status="active",
            permissions=list(permissions),
            sessions_valid_from=now - timedelta(minutes=1),
        )
        await self.publish(identity.UserCreated(tenant_id=tenant_id, subject=user_id, sequence=1, data=user))
        claims = tokens.Claims(user_id, tenant_id, new_id("ses"), now, now + timedelta(minutes=5), livemode=True)
        token = tokens.sign(claims, key_id=self._signing_key_id, private_key=self._signing_key)
        headers = {"Authorization": f"Bearer {token}"}

        async def known() -> bool:
            return (await self.client.get("/v1/auth/test", headers=headers)).status_code == 200

        await eventually(known, what="billing knows the person")
        return headers

    async def new_tenant(self, created: identity.TenantCreated | None = None) -> str:
        """A tenant that billing knows, with its subscription; its id."""
        created = created or tenant_created()
        await self.publish(created)
        await eventually(lambda: self._has_subscription(created.subject), what="the trial has started")
        return created.subject

    async def subscription(self, tenant_id: str) -> dict[str, Any]:
        """The subscription, as an operator sees it."""
        answer = await self.client.get("/v1/billing/subscription", headers=self.operator(tenant_id))
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def extend(self, tenant_id: str, ends_at: object, **headers: str) -> httpx.Response:
        """Ask, as an operator, for another end of the trial."""
        body = {"trial_ends_at": ends_at.isoformat() if isinstance(ends_at, datetime) else ends_at}
        path = f"/v1/billing/tenants/{tenant_id}/trial/extend"
        return await self.client.post(path, json=body, headers={**self.operator(), **headers})

    async def events(self, tenant_id: str, *types: str, seconds: float = 30.0) -> list[Event]:
        """What Kafka has of this tenant up to the last of `types`, which is waited for; those must be all there is."""
        found: list[Event] = []
        async with consuming(self.settings) as consumer, asyncio.timeout(seconds):
            while len(found) < len(types):
                found += [event for event in [read(await consumer.getone())] if event and event.tenant_id == tenant_id]
        assert [event.type for event in found] == list(types)
        return found

    async def _has_subscription(self, tenant_id: str) -> bool:
        answer = await self.client.get("/v1/billing/subscription", headers=self.operator(tenant_id))
        return answer.status_code == 200


def read(record: Any) -> Event | None:
    """A record of billing's topic."""
    return Vocabulary(*events.EVENTS).read(text_headers(record.headers), record.value)


@asynccontextmanager
async def consuming(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all that billing has published so far and will."""
    consumer = AIOKafkaConsumer(
        f"{settings.kafka_prefix}{events.TOPIC}",
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def settings_for(url: str, bootstrap_servers: str, **more: Any) -> Settings:
    """The settings of a replica; those that share a database get the same `key_peppers` and `secret` through `more`."""
    values: Mapping[str, Any] = {
        "database_url": url,
        "kafka_bootstrap_servers": bootstrap_servers,
        "key_peppers": f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "secret": base64.b64encode(secrets.token_bytes(32)).decode(),
        "trial_days": TRIAL_DAYS,
        **more,
    }
    return Settings(**values)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Billing]:
    """Billing, from the start of its parts to their stop."""
    app = create_app(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all")
    await producer.start()
    transport = httpx.ASGITransport(app)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://billing") as client,
        ):
            billing = Billing(settings, client, producer)
            await billing.introduce()
            yield billing
    finally:
        await producer.stop()


async def _take_and_never_commit(url: str) -> None:
    database = open_database(url)

    async def say_and_wait(session: AsyncSession) -> None:
        sys.stdout.write(f"{TAKEN}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    # The outbox rows are written by now: the last step before the COMMIT.
    database.before_commit.append(say_and_wait)
    await TimerWorker(database, Metrics("billing")).run()


if __name__ == "__main__":
    asyncio.run(_take_and_never_commit(sys.argv[1]))
