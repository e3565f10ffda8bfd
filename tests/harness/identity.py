"""Identity in the tests' own process, with billing's part played by events, and the people who call it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from identity.api_keys import operations
from identity.app import create_app, create_service
from identity.config import Settings
from shared.events import access, identity
from tests.harness.bodies import PASSWORD, SIGNING_ROOT_KEY, secret_32
from tests.harness.client import Api
from tests.harness.people import TRIAL, FromIdentity, Tenant, subscription
from tests.harness.services import Running, serve, settings_of
from tests.harness.stack import BackingStack
from tests.harness.suite import CHEAP_HASHES
from tests.harness.waiting import eventually

CONSOLE = "https://console.waybill.test"
PROCESS = UUID("018d5b3e-8f7a-7c21-9f35-1d2e3c4b5a69")


class Identity(Running[Settings]):
    """A running identity service."""

    name = "identity"
    published_events = identity.EVENTS

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.platform = self.live_platform = self.nobody

    @property
    def people(self) -> FromIdentity:
        return FromIdentity(self.platform, entitled=self._begin_trial)

    async def platform_key(self, *, livemode: bool) -> Api:
        """A caller with a new platform key."""
        service = create_service(self.settings)
        async with service.database.transaction() as session:
            key_id, key = operations.create_platform_key(
                session, service.peppers, name="tests", livemode=livemode, now=datetime.now(UTC)
            )
        await service.database.close()
        return self.nobody.using({"X-Api-Key": key}, {"id": key_id})

    async def create_tenant(self, **more: Any) -> Tenant:
        """A tenant whose trial has begun and whose owner has logged in."""
        return await self.people.create_tenant(**more)

    async def log_in(self, tenant: str, address: str, password: str = PASSWORD) -> Api:
        """A person's session."""
        return await self.people.log_in(tenant, address, password)

    async def _begin_trial(self, tenant: Tenant) -> None:
        await self.begin_trial(tenant.id, ends_in=TRIAL)

    async def begin_trial(self, tenant_id: str, *, ends_in: timedelta, sequence: int = 1) -> None:
        """Publish, in place of billing, until when a tenant is on trial; returns when identity knows it."""
        ends_at = datetime.now(UTC) + ends_in
        await self.publish(subscription(tenant_id, ends_at, sequence=sequence))

        async def known() -> bool:
            subscribed = (await self.platform.in_tenant(tenant_id).get("/v1/permissions")).json().get("subscription")
            if not subscribed or subscribed["trial_ends_at"] is None:
                return False
            return datetime.fromisoformat(subscribed["trial_ends_at"]) == ends_at

        await eventually(known, what="identity knows the trial")

    async def publish_uses(self, used: Mapping[str, datetime]) -> None:
        """Publish, in place of jobs, when it accepted credentials."""
        uses = [access.CredentialUse(credential_id=name, used_at=used_at) for name, used_at in used.items()]
        data = access.CredentialUses(uses=uses)
        await self.publish(access.CredentialUsed(tenant_id=None, subject="jobs", sequence=0, data=data))

    async def publish_requests(
        self,
        *,
        counts: Sequence[access.RequestCountState] = (),
        failed: Sequence[access.FailedRequestState] = (),
        process_id: UUID = PROCESS,
    ) -> None:
        """Publish, in place of jobs, what it answered."""
        data = access.RequestsState(process_id=process_id, counts=list(counts), failed=list(failed))
        await self.publish(access.RequestsLogged(tenant_id=None, subject="jobs", sequence=0, data=data))


@asynccontextmanager
async def running(backing: BackingStack, **more: Any) -> AsyncIterator[Identity]:
    """Identity on a new database, with platform keys of both modes."""
    cheap_hashes = {name.removeprefix("IDENTITY_").lower(): value for name, value in CHEAP_HASHES.items()}
    values = {
        "sealing_keys": f"1:{secret_32()}",
        "signing_root_key": SIGNING_ROOT_KEY,
        "address_attempts_per_minute": 10_000,
        **cheap_hashes,
        **more,
    }
    async with serve(Identity, create_app, await settings_of(backing, "identity", Settings, **values)) as service:
        service.platform = await service.platform_key(livemode=False)
        service.live_platform = await service.platform_key(livemode=True)
        yield service
