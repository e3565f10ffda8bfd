"""The jobs service in the process of the tests, with its own database, and the events of other services that give it callers.

Events of identity and billing are published to Kafka as these services would; nothing is written into the tables of the service.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy import text

from jobs.app import create_app
from jobs.config import Settings
from shared.access import tokens
from shared.access.credentials import Peppers, new_api_key
from shared.chassis.settings import parse_keys
from shared.events import Event, Vocabulary, billing, identity, text_headers
from shared.events import jobs as job_events
from shared.ids import new_id, to_uuid
from shared.postgres.database import Database
from tests.harness.stack import BackingStack, migrated
from tests.harness.suite import basic, eventually, own_topics

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
READY_SECONDS = 60.0
KNOWN_SECONDS = 40.0
PUBLISHED_SECONDS = 60.0

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


@dataclass
class Api:
    """The service as one caller sees it."""

    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        content = {} if body is None else {"json": body}
        return await self.request("POST", path, **content, **options)

    async def patch(self, path: str, body: object, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, json=body, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def listed(self, path: str = "/v1/jobs", *, limit: int = 200, **conditions: Any) -> list[str]:
        """The ids of a whole list, read page by page; a condition with several values is a list."""
        return await self._pages("GET", path, "params", {"limit": limit, **conditions})

    async def searched(self, path: str = "/v1/jobs/search", *, limit: int = 200, **conditions: Any) -> list[str]:
        """The ids of all that a search finds, read page by page."""
        return await self._pages("POST", path, "json", {"limit": limit, **conditions})

    async def _pages(self, method: str, path: str, where: str, asked: dict[str, Any]) -> list[str]:
        found: list[str] = []
        while True:
            answer = await self.request(method, path, **{where: asked})
            assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
            page = answer.json()
            assert page["object"] == "list"
            assert len(page["data"]) <= asked["limit"]
            found += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                assert page["next_cursor"] is None
                return found
            asked = {**asked, "cursor": page["next_cursor"]}

    async def create(self, body: object = None, **options: Any) -> dict[str, Any]:
        """Create a job, by default the smallest one; returns it."""
        answer = await self.post("/v1/jobs", smallest() if body is None else body, **options)
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        document: dict[str, Any] = answer.json()
        return document


@dataclass
class Tenant:
    """A tenant with three locations and a trial."""

    service: "Jobs"
    id: str
    montreal: str
    toronto: str
    closed: str
    """A location that is not active."""
    sequence: int = 1

    async def set_subscription(self, status: str, *, access_until: datetime | None = None) -> None:
        """Publish a change of the tenant's subscription."""
        self.sequence += 1
        state = billing.SubscriptionState(
            tenant_id=self.id, status=status, trial_ends_at=access_until, access_until=access_until
        )
        event = billing.TrialExtended(tenant_id=self.id, subject=self.id, sequence=self.sequence, data=state)
        await self.service.publish(event)

    async def set_status(self, status: str) -> None:
        """Publish a change of the tenant's status."""
        self.sequence += 1
        await self.service.publish(_tenant(self.id, status, self.sequence))

    async def enable_job_review(self) -> None:
        """Publish that new jobs of merchants wait for review."""
        self.sequence += 1
        await self.service.publish(_tenant(self.id, "active", self.sequence, job_review=True))

    async def merchant(self, **more: Any) -> "Merchant":
        """A merchant of level 2 with API access; its locations are Montreal (default), Toronto and the closed one."""
        merchant_id = new_id("mer")
        key = new_api_key(livemode=more.pop("livemode", True))
        state: dict[str, Any] = {
            "merchant_id": merchant_id,
            "tenant_id": self.id,
            "business_name": "Boulangerie",
            "level": 2,
            "status": "active",
            "api_access": True,
            "location_ids": [self.montreal, self.toronto, self.closed],
            "default_location_id": self.montreal,
            "sessions_valid_from": LONG_AGO,
            **more,
        }
        merchant = Merchant(self, merchant_id, new_id("acct"), key, state)
        await merchant.update()
        return merchant

    async def user(
        self,
        kind: str = "staff",
        *,
        permissions: Sequence[str] = (),
        livemode: bool = True,
        scopes: Sequence[str] = ("orders",),
    ) -> Api:
        """A user's API key with that user's permissions, as far as the key's scopes go."""
        user_id, key = new_id("usr"), new_api_key(livemode=livemode)
        user = identity.UserState(
            user_id=user_id,
            tenant_id=self.id,
            kind=kind,
            status="active",
            permissions=list(permissions),
            sessions_valid_from=LONG_AGO,
        )
        credential = self.service.credential("user_key", key, tenant_id=self.id, user_id=user_id, scopes=list(scopes))
        await self.service.publish(
            identity.UserCreated(tenant_id=self.id, subject=user_id, sequence=1, data=user),
            identity.CredentialIssued(tenant_id=self.id, subject=credential.credential_id, sequence=1, data=credential),
        )
        return Api(self.service.client, {"X-Api-Key": key})


@dataclass
class Merchant:
    """A merchant as identity publishes it, and its API credentials."""

    tenant: Tenant
    id: str
    account_id: str
    key: str
    state: dict[str, Any]
    sequence: int = 0

    @property
    def api(self) -> Api:
        """The service, called with the API credentials."""
        return Api(self.tenant.service.client, basic(self.account_id, self.key))

    async def update(self, **changes: Any) -> None:
        """Publish the merchant with these changes and wait until the service has consumed them."""
        self.sequence += 1
        self.state.update(changes)
        credentials = identity.PairState(
            account_id=self.account_id,
            livemode=self.key.startswith("wbk_live_"),
            digests=[self.tenant.service.digest(self.key)],
        )
        state = identity.MerchantState(**self.state, pair=credentials)
        event = identity.MerchantUpdated(tenant_id=self.tenant.id, subject=self.id, sequence=self.sequence, data=state)
        await self.tenant.service.publish(event)

    def session(self) -> Api:
        """The service, called with a session of the merchant."""
        return self.tenant.service.session(self.tenant.id, self.id)


class Jobs:
    """The running service and what tests do with it."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        client: httpx.AsyncClient,
        producer: AIOKafkaProducer,
        database: Database,
    ):
        self.app = app
        self.settings = settings
        self.client = client
        self.database = database
        self._producer = producer
        self._peppers = Peppers(parse_keys(settings.key_peppers.get_secret_value()))
        self._signing_key = Ed25519PrivateKey.generate()
        self._signing_key_id = secrets.token_hex(8)
        self.platform_key = new_api_key(livemode=True)

    async def publish(self, *events: Event) -> None:
        """Publish events and wait until they are in the service's tables (its cache can take a moment longer)."""
        for event in events:
            topic = f"{self.settings.kafka_prefix}{event.topic}"
            await self._producer.send_and_wait(
                topic, event.value(), key=event.subject.encode(), headers=event.headers()
            )
        for event in events:
            known = partial(self._knows, event)
            await eventually(known, seconds=KNOWN_SECONDS, what=f"{event.type} is known")

    async def _knows(self, event: Event) -> bool:
        about = event.subject
        if isinstance(event, identity.MerchantEvent):
            about = event.data.merchant_id
        statement = _ENTITLED if isinstance(event, billing.BillingEvent) else _KNOWN
        uuid = None if isinstance(event, identity.SigningKeyPublished) else to_uuid(about)
        async with self.database.reading() as session:
            found = await session.execute(statement, {"uuid": uuid, "id": about, "version": event.sequence})
            return bool(found.scalar_one())

    def digest(self, key: str) -> identity.DigestState:
        return identity.DigestState(digest=self._peppers.digest(key), pepper_version=self._peppers.current_version)

    def credential(self, kind: str, key: str, **more: Any) -> identity.CredentialState:
        return identity.CredentialState(
            credential_id=new_id("key"),
            kind=kind,
            name="tests",
            active=True,
            livemode=key.startswith("wbk_live_"),
            digests=[self.digest(key)],
            **more,
        )

    async def publish_keys(self) -> None:
        """Publish the signing key of sessions and a platform key."""
        signing = identity.SigningKeyState(
            key_id=self._signing_key_id, algorithm="EdDSA", public_key=tokens.public_text(self._signing_key)
        )
        platform = self.credential("platform_key", self.platform_key, scopes=["platform", "orders"])
        await self.publish(
            identity.SigningKeyPublished(tenant_id=None, subject=self._signing_key_id, sequence=1, data=signing),
            identity.CredentialIssued(tenant_id=None, subject=platform.credential_id, sequence=1, data=platform),
        )

    async def tenant(self) -> Tenant:
        """A new tenant on trial, with its locations."""
        tenant_id = new_id("ten")
        montreal, toronto, closed = new_id("loc"), new_id("loc"), new_id("loc")
        trial = billing.SubscriptionState(
            tenant_id=tenant_id, status="trialing", access_until=datetime.now(UTC) + timedelta(days=14)
        )
        await self.publish(
            _tenant(tenant_id, "active", 1),
            billing.TrialStarted(tenant_id=tenant_id, subject=tenant_id, sequence=1, data=trial),
            location(tenant_id, montreal, "America/Montreal"),
            location(tenant_id, toronto, "America/Toronto"),
            location(tenant_id, closed, "America/Halifax", active=False),
        )
        return Tenant(self, tenant_id, montreal, toronto, closed)

    def session(self, tenant_id: str, subject_id: str, *, livemode: bool = True) -> Api:
        """The service, called with a session of this user or merchant."""
        now = datetime.now(UTC)
        claims = tokens.Claims(subject_id, tenant_id, new_id("ses"), now, now + timedelta(minutes=5), livemode)
        token = tokens.sign(claims, key_id=self._signing_key_id, private_key=self._signing_key)
        return Api(self.client, {"Authorization": f"Bearer {token}"})

    def platform(self, tenant: Tenant | None = None) -> Api:
        """The service, called with the platform key for a tenant."""
        named = {} if tenant is None else {"X-Tenant-Id": tenant.id}
        return Api(self.client, {"X-Api-Key": self.platform_key, **named})

    async def count(self, merchant: Merchant) -> int:
        """The number of stored jobs of the merchant."""
        async with self.database.reading() as session:
            statement = text("SELECT count(*) FROM jobs WHERE merchant_id = :merchant_id")
            found = await session.execute(statement, {"merchant_id": to_uuid(merchant.id)})
            return int(found.scalar_one())

    async def published(self, tenant: Tenant, count: int) -> list[Event]:
        """The first `count` events of this tenant on the topic of jobs."""
        vocabulary = Vocabulary(*job_events.EVENTS)
        consumer = AIOKafkaConsumer(
            f"{self.settings.kafka_prefix}{job_events.TOPIC}",
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            found: list[Event] = []
            about = tenant.id.encode()
            async with asyncio.timeout(PUBLISHED_SECONDS):
                while len(found) < count:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            # Records of other tenants are skipped without parsing: there can be many.
                            if about not in record.value:
                                continue
                            event = vocabulary.read(text_headers(record.headers), record.value)
                            if event is not None and event.tenant_id == tenant.id:
                                assert record.key == event.subject.encode()
                                found.append(event)
            return found
        finally:
            await consumer.stop()


def smallest(**more: Any) -> dict[str, Any]:
    """The smallest job for a merchant with a default location."""
    return {
        "contact": {"first_name": "Ada", "phone": "+15145550100"},
        "address": {"raw": "1 Rue Sherbrooke, Montréal"},
        **more,
    }


def location(tenant_id: str, location_id: str, timezone: str, *, active: bool = True, sequence: int = 1) -> Event:
    """The event of a location."""
    state = identity.LocationState(
        location_id=location_id,
        tenant_id=tenant_id,
        type="branch",
        name=timezone,
        timezone=timezone,
        active=active,
        is_default=False,
    )
    return identity.LocationUpdated(tenant_id=tenant_id, subject=location_id, sequence=sequence, data=state)


def _tenant(tenant_id: str, status: str, sequence: int, *, job_review: bool = False) -> Event:
    state = identity.TenantState(
        tenant_id=tenant_id,
        name=f"Livraisons {tenant_id}",
        status=status,
        country="CA",
        timezone="America/Montreal",
        currency="CAD",
        test=False,
        owner_id=new_id("usr"),
        job_review=job_review,
    )
    return identity.TenantUpdated(tenant_id=tenant_id, subject=tenant_id, sequence=sequence, data=state)


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Jobs]:
    """The running service with its own database, which knows the platform key and the signing key of identity."""
    prefix = await own_topics(backing)
    kafka = backing.kafka_bootstrap
    settings = Settings(
        database_url=await asyncio.to_thread(migrated, backing, "jobs"),
        kafka_bootstrap_servers=kafka,
        kafka_prefix=prefix,
        key_peppers=f"1:{_secret()}",
        secret=_secret(),
        **more,
    )
    app = create_app(settings)
    # Tests write more rows with one statement than the service does.
    database = Database(settings.database_url, application_name="tests", pool_size=4, statement_timeout_ms=60_000)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    await producer.start()
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs") as client,
        ):
            await eventually(lambda: _ready(client), seconds=READY_SECONDS, what="the service is ready")
            service = Jobs(app, settings, client, producer, database)
            await service.publish_keys()
            yield service
    finally:
        await producer.stop()
        await database.close()


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
