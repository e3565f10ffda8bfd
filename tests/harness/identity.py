"""Identity in the tests' own process, on a database and Kafka of the run, and the people who call it."""

import asyncio
import base64
import itertools
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from identity.api_keys import operations
from identity.app import create_app, create_service
from identity.config import Settings
from shared.events import Event, Vocabulary, access, billing, identity, text_headers
from tests.harness.stack import BackingStack, migrated
from tests.harness.suite import basic, eventually, own_topics

PASSWORD = "correct horse battery staple"

_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word} {next(_numbers)} {secrets.token_hex(4)}"


def email(word: str = "person") -> str:
    """An address that no other test uses."""
    return f"{word}-{secrets.token_hex(6)}@example.com"


@dataclass
class Person:
    """Somebody who calls identity, with their credentials."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    document: dict[str, Any]

    async def request(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        content: dict[str, Any] = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers={**self.headers, **headers}, **content)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.request("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.request("POST", path, body, **headers)

    async def patch(self, path: str, body: object, **headers: str) -> httpx.Response:
        return await self.request("PATCH", path, body, **headers)

    async def delete(self, path: str, **headers: str) -> httpx.Response:
        return await self.request("DELETE", path, **headers)

    async def made(self, path: str, body: object = None) -> dict[str, Any]:
        """POST, expect 200 or 201, and return the document."""
        return document(await self.post(path, body), 200, 201)


@dataclass
class Merchant:
    """A merchant and its log-in."""

    tenant: "Tenant"
    id: str
    email: str
    document: dict[str, Any]

    async def session(self) -> Person:
        return await self.tenant.identity.log_in(self.tenant.id, self.email)

    async def credentials(self) -> dict[str, str]:
        """The API Account ID and API Auth Key, revealed in the merchant's own session."""
        shown = await (await self.session()).made("/v1/api-settings/reveal", {"password": PASSWORD})
        return {"api_account_id": shown["api_account_id"], "api_auth_key": shown["api_auth_key"]}

    async def now(self) -> dict[str, Any]:
        """As an administrator sees it."""
        return document(await self.tenant.owner.get(f"/v1/merchants/{self.id}"))


@dataclass
class Tenant:
    """A tenant on trial, and its owner's session."""

    identity: "Identity"
    id: str
    name: str
    owner: Person
    owner_email: str
    document: dict[str, Any]

    @property
    def default_location(self) -> str:
        return str(self.document["default_location"]["id"])

    async def location(self, **more: Any) -> dict[str, Any]:
        return await self.owner.made("/v1/locations", {"name": unique("Montréal"), **more})

    def merchant_body(self, **more: Any) -> dict[str, Any]:
        return {
            "business_name": unique("Boulangerie"),
            "login_email": email("merchant"),
            "level": 2,
            "location_ids": [self.default_location],
            "password": PASSWORD,
            **more,
        }

    async def merchant(self, **more: Any) -> Merchant:
        made = await self.owner.made("/v1/merchants", self.merchant_body(**more))
        return Merchant(self, made["id"], made["login_email"], made)

    async def staff(self, *permissions: str) -> Person:
        """A member of staff with these permissions, logged in; `document` is their session's answer."""
        body = {
            "email": email("staff"),
            "first_name": "Sam",
            "last_name": "Staff",
            "permissions": list(permissions),
            "password": PASSWORD,
        }
        made = await self.owner.made("/v1/staff", body)
        return await self.identity.log_in(self.id, made["email"])


class Identity:
    """A running identity service."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, producer: AIOKafkaProducer):
        self.settings = settings
        self.client = client
        self._producer = producer
        self.nobody = Person(client, {}, {})
        self.platform = self.nobody
        self.live_platform = self.nobody

    async def platform_key(self, *, livemode: bool) -> Person:
        """A caller with a new platform key."""
        service = create_service(self.settings)
        async with service.database.transaction() as session:
            key_id, key = operations.create_platform_key(
                session, service.peppers, name="tests", livemode=livemode, now=datetime.now(UTC)
            )
        await service.database.close()
        return Person(self.client, {"X-Api-Key": key}, {"id": key_id})

    async def new_tenant(self, **more: Any) -> Tenant:
        """A tenant whose trial has begun (in place of billing) and whose owner has logged in."""
        name, address = unique("Livraisons"), email("owner")
        owner = {"email": address, "first_name": "Odile", "last_name": "Owner", "password": PASSWORD}
        made = await self.platform.made("/v1/tenants", tenant_body(name, owner=owner, **more))
        await self.begin_trial(made["id"], ends_in=timedelta(days=14))
        person = await self.log_in(made["id"], address)
        return Tenant(self, made["id"], name, person, address, made)

    async def begin_trial(self, tenant_id: str, *, ends_in: timedelta, sequence: int = 1) -> None:
        """Publish, in place of billing, until when a tenant is on trial; returns when identity knows it."""
        ends_at = datetime.now(UTC) + ends_in
        state = billing.SubscriptionState(
            tenant_id=tenant_id, status="trialing", trial_ends_at=ends_at, access_until=ends_at
        )
        event = billing.TrialStarted(tenant_id=tenant_id, subject=tenant_id, sequence=sequence, data=state)
        await self._publish(event)

        async def known() -> bool:
            answer = await self.platform.get("/v1/permissions", **{"X-Tenant-Id": tenant_id})
            subscription = answer.json().get("subscription")
            if not subscription or subscription["trial_ends_at"] is None:
                return False
            return datetime.fromisoformat(subscription["trial_ends_at"]) == ends_at

        await eventually(known, what="identity knows the trial")

    async def publish_uses(self, used: Mapping[str, datetime]) -> None:
        """Publish, in place of jobs, when it accepted credentials."""
        uses = [access.CredentialUse(credential_id=name, used_at=used_at) for name, used_at in used.items()]
        data = access.CredentialUses(uses=uses)
        await self._publish(access.CredentialUsed(tenant_id=None, subject="jobs", sequence=0, data=data))

    async def _publish(self, event: Event) -> None:
        topic = f"{self.settings.kafka_prefix}{event.topic}"
        await self._producer.send_and_wait(topic, event.value(), key=event.subject.encode(), headers=event.headers())

    async def log_in(self, tenant: str, address: str, password: str = PASSWORD) -> Person:
        """A person's session."""
        body = {"tenant": tenant, "email": address, "password": password}
        made = document(await self.client.post("/v1/sessions", json=body), 201)
        return Person(self.client, {"Authorization": f"Bearer {made['token']}"}, made)

    def integration(self, *, api_account_id: str, api_auth_key: str) -> Person:
        """A merchant's software that calls with API credentials."""
        return Person(self.client, basic(api_account_id, api_auth_key), {})

    async def events(self, subject: str, *types: str, seconds: float = 30.0) -> list[Event]:
        """The first events of an aggregate in Kafka, as many as `types`, which they must have."""
        found: list[Event] = []
        vocabulary = Vocabulary(*identity.EVENTS)
        consumer = AIOKafkaConsumer(
            f"{self.settings.kafka_prefix}{identity.TOPIC}",
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            async with asyncio.timeout(seconds):
                while len(found) < len(types):
                    record = await consumer.getone()
                    event = vocabulary.read(text_headers(record.headers), record.value)
                    if event is not None and event.subject == subject:
                        found.append(event)
        except TimeoutError:
            raise AssertionError(f"only {[event.type for event in found]} within {seconds} s") from None
        finally:
            await consumer.stop()
        assert [event.type for event in found] == list(types)
        return found


def tenant_body(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "country": "CA",
        "timezone": "America/Montreal",
        "currency": "CAD",
        "owner": {"email": email("owner"), "first_name": "Odile", "last_name": "Owner"},
        **more,
    }


def document(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The answer's JSON; its status must be one of these (default: 200)."""
    assert answer.status_code in (statuses or (200,)), f"{answer.request.url}: {answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal, which must have this status and code."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    found: dict[str, Any] = answer.json()
    return found


def pointers(problem: dict[str, Any]) -> Sequence[str]:
    return [error["pointer"] for error in problem["errors"]]


def settings_for(url: str, bootstrap_servers: str, **more: Any) -> Settings:
    """Settings with fresh secrets and password hashes that cost nothing."""
    values: dict[str, Any] = {
        "database_url": url,
        "kafka_bootstrap_servers": bootstrap_servers,
        "key_peppers": f"1:{_secret()}",
        "secret": _secret(),
        "sealing_keys": f"1:{_secret()}",
        "argon2_memory_kib": 64,
        "argon2_time_cost": 1,
        "argon2_parallelism": 1,
        "address_attempts_per_minute": 10_000,
        **more,
    }
    return Settings(**values)


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Identity]:
    """Identity on a new database, from the start of its parts to their stop."""
    url = await asyncio.to_thread(migrated, backing, "identity")
    prefix = await own_topics(backing)
    settings = settings_for(url, backing.kafka_bootstrap, kafka_prefix=prefix, **more)
    async with served(settings) as identity_:
        identity_.platform = await identity_.platform_key(livemode=False)
        identity_.live_platform = await identity_.platform_key(livemode=True)
        yield identity_


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Identity]:
    """Identity with these settings, ready."""
    app = create_app(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all")
    await producer.start()
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://identity", timeout=30) as client,
        ):

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(ready, seconds=90, what="identity is ready")
            yield Identity(settings, client, producer)
    finally:
        await producer.stop()


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
