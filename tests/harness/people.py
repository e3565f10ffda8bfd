"""Tenants, their staff and their merchants, as every test knows them.

They come to be in two ways: through the HTTP API of identity (`FromIdentity`), or by the access events that identity and billing would
publish (`FromEvents`), where a service is tested by itself. A test reads the same with both.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.access import tokens
from shared.access.credentials import Peppers, new_api_key
from shared.access.signing_roots import SigningKeyFacts
from shared.events import billing, identity
from shared.ids import new_id
from tests.harness.bodies import (
    PASSWORD,
    SIGNING_ROOT,
    email,
    location_body,
    merchant_body,
    staff_body,
    tenant_body,
    unique,
)
from tests.harness.client import Api, document
from tests.harness.waiting import eventually

TRIAL = timedelta(days=14)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Tenant:
    """A tenant with its owner's session."""

    source: "Source"
    id: str
    name: str
    owner: Api
    owner_email: str
    default_location: str
    document: dict[str, Any] = field(repr=False)
    version: int = 1

    async def create_location(self, **more: Any) -> str:
        """The id of a new location, at which jobs can be from now on."""
        return await self.source.create_location(self, more)

    async def create_locations(self, *names: str) -> list[str]:
        return [await self.create_location(name=name) for name in names]

    async def create_merchant(self, *, api_access: bool = True, **more: Any) -> "Merchant":
        """A merchant of level 2, by default with API access and the default location."""
        body = merchant_body(self.default_location, api_access=api_access, **more)
        body.setdefault("default_location_id", body["location_ids"][0])
        return await self.source.create_merchant(self, body)

    async def create_staff(self, *permissions: str, **more: Any) -> Api:
        """The session of a new member of staff with these permissions."""
        return await self.source.create_staff(self, {**staff_body(*permissions), **more})

    async def update(self, **changes: Any) -> None:
        """Change fields of the tenant."""
        await self.source.update_tenant(self, changes)

    async def end_trial_at(self, instant: datetime) -> None:
        """Have the trial end at another instant."""
        await self.source.end_trial_at(self, instant)

    async def create_endpoint(self, url: str = "https://example.com/hooks", **more: Any) -> dict[str, Any]:
        """A webhook endpoint for everything, unless `more` says otherwise; waits until webhooks knows its locations."""
        body = {"url": url, "event_types": ["*"], "location_ids": "*", **more}

        async def accepted() -> dict[str, Any] | None:
            answer = await self.owner.at("webhooks").post("/v1/webhook-endpoints", body)
            return None if answer.status_code == 422 and "location" in answer.text else document(answer, 201)

        return await eventually(accepted, what="the endpoint is accepted")


@dataclass
class Merchant:
    """A merchant and, once revealed, its API credentials."""

    tenant: Tenant
    id: str
    document: dict[str, Any] = field(repr=False)
    account_id: str = ""
    key: str = ""
    version: int = 1

    async def session(self) -> Api:
        """The merchant's own session."""
        return await self.tenant.source.log_in_merchant(self)

    async def reveal(self, *, settled: bool = True) -> Api:
        """The caller with the merchant's API credentials of now (`account_id` and `key`), once every service knows them."""
        await self.tenant.source.reveal(self)
        return await self.api.settled() if settled else self.api

    @property
    def api(self) -> Api:
        """The caller with the merchant's API credentials, once they are revealed."""
        assert self.key, "the API credentials have not been revealed"
        return self.tenant.owner.basic(self.account_id, self.key)

    async def update(self, **changes: Any) -> None:
        """Change fields of the merchant."""
        await self.tenant.source.update_merchant(self, changes)


class Source(Protocol):
    """How tenants and their people come to be, and change."""

    async def create_location(self, tenant: Tenant, body: dict[str, Any]) -> str: ...
    async def create_merchant(self, tenant: Tenant, body: dict[str, Any]) -> Merchant: ...
    async def create_staff(self, tenant: Tenant, body: dict[str, Any]) -> Api: ...
    async def log_in_merchant(self, merchant: Merchant) -> Api: ...
    async def reveal(self, merchant: Merchant) -> None: ...
    async def update_tenant(self, tenant: Tenant, changes: dict[str, Any]) -> None: ...
    async def update_merchant(self, merchant: Merchant, changes: dict[str, Any]) -> None: ...
    async def end_trial_at(self, tenant: Tenant, instant: datetime) -> None: ...


class FromIdentity:
    """Through the HTTP API of identity and, in the whole suite, of billing."""

    def __init__(
        self,
        platform: Api,
        *,
        entitled: Callable[[Tenant], Awaitable[None]],
        located: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`entitled` and `located` return when every service knows a new tenant's subscription and a new location."""
        self.platform = platform
        self._entitled = entitled
        self._located = located

    async def log_in(self, tenant: str, address: str, password: str = PASSWORD) -> Api:
        """A person's session."""
        body = {"tenant": tenant, "email": address, "password": password}
        made = await self.platform.using({}).create("/v1/sessions", body)
        return self.platform.using({"Authorization": f"Bearer {made['token']}"}, made)

    async def create_tenant(self, **more: Any) -> Tenant:
        """A tenant on trial, known to all services, whose owner has logged in."""
        name, address = unique("Livraisons"), email("owner")
        owner = {"email": address, "first_name": "Odile", "last_name": "Owner", "password": PASSWORD}
        made = await self.platform.create("/v1/tenants", tenant_body(name, owner=owner, **more))
        session = await self.log_in(made["id"], address)
        tenant = Tenant(self, made["id"], name, session, address, made["default_location"]["id"], made)
        await session.settled()
        await self._entitled(tenant)
        await self._know_location(tenant.default_location)
        return tenant

    async def create_location(self, tenant: Tenant, body: dict[str, Any]) -> str:
        made = await tenant.owner.create("/v1/locations", location_body(**body))
        await self._know_location(made["id"])
        return str(made["id"])

    async def _know_location(self, location_id: str) -> None:
        if self._located is not None:
            await self._located(location_id)

    async def create_merchant(self, tenant: Tenant, body: dict[str, Any]) -> Merchant:
        made = await tenant.owner.create("/v1/merchants", body)
        return Merchant(tenant, made["id"], made, account_id=made["api_account_id"] or "")

    async def create_staff(self, tenant: Tenant, body: dict[str, Any]) -> Api:
        made = await tenant.owner.create("/v1/staff", body)
        return await (await self.log_in(tenant.id, made["email"])).settled()

    async def log_in_merchant(self, merchant: Merchant) -> Api:
        return await self.log_in(merchant.tenant.id, merchant.document["login_email"])

    async def reveal(self, merchant: Merchant) -> None:
        session = await self.log_in_merchant(merchant)
        revealed = await session.create("/v1/api-settings/reveal", {"password": PASSWORD})
        merchant.account_id, merchant.key = revealed["api_account_id"], revealed["api_auth_key"]

    async def update_tenant(self, tenant: Tenant, changes: dict[str, Any]) -> None:
        tenant.document |= document(await self.platform.patch(f"/v1/tenants/{tenant.id}", changes))

    async def update_merchant(self, merchant: Merchant, changes: dict[str, Any]) -> None:
        merchant.document = document(await merchant.tenant.owner.patch(f"/v1/merchants/{merchant.id}", changes))

    async def end_trial_at(self, tenant: Tenant, instant: datetime) -> None:
        path = f"/v1/billing/tenants/{tenant.id}/trial/extend"
        await self.platform.at("billing").create(path, {"trial_ends_at": instant.isoformat()})


class FromEvents:
    """By the events of identity and billing. `publish` returns when the service knows what they say."""

    def __init__(self, nobody: Api, peppers: Peppers, publish: Callable[..., Awaitable[None]]) -> None:
        self.nobody = nobody
        self.peppers = peppers
        self.publish = publish
        self._signing_key = Ed25519PrivateKey.generate()
        self._signing_key_id = secrets.token_hex(8)
        self._platform_key = new_api_key(livemode=True)

    @property
    def platform(self) -> Api:
        """A caller with the platform key."""
        return self.nobody.using({"X-Api-Key": self._platform_key})

    async def introduce(self) -> None:
        """Publish the signing key of sessions and a platform key."""
        public_key = tokens.public_text(self._signing_key)
        key = identity.SigningKeyState(
            key_id=self._signing_key_id,
            algorithm=tokens.ALGORITHM,
            public_key=public_key,
            proof=SIGNING_ROOT.prove(SigningKeyFacts(self._signing_key_id, 1, public_key, None)),
        )
        await self.publish(
            identity.SigningKeyPublished(tenant_id=None, subject=key.key_id, sequence=1, data=key),
            self.key_issued("platform_key", self._platform_key, scopes=["platform", "orders", "billing"]),
        )

    def key_issued(
        self, kind: str, key: str, *, tenant_id: str | None = None, **more: Any
    ) -> identity.CredentialIssued:
        """The event of a new key of this kind, with its scopes."""
        state = identity.CredentialState(
            credential_id=new_id("key"),
            kind=kind,
            tenant_id=tenant_id,
            name="tests",
            active=True,
            livemode=key.startswith("wbk_live_"),
            digests=[self._digest(key)],
            **more,
        )
        return identity.CredentialIssued(tenant_id=tenant_id, subject=state.credential_id, sequence=1, data=state)

    def session(
        self,
        tenant_id: str,
        subject_id: str,
        *,
        livemode: bool = True,
        issued_at: datetime | None = None,
        stepped_up_at: datetime | None = None,
    ) -> Api:
        """A session of this user or merchant, five minutes long, and stepped up unless it says otherwise."""
        issued_at = issued_at or datetime.now(UTC)
        claims = tokens.Claims(
            subject_id,
            tenant_id,
            new_id("ses"),
            issued_at,
            issued_at + timedelta(minutes=5),
            livemode,
            stepped_up_at=stepped_up_at or issued_at,
        )
        token = tokens.sign(claims, key_id=self._signing_key_id, private_key=self._signing_key)
        return self.nobody.using({"Authorization": f"Bearer {token}"}, {"principal": {"id": subject_id}})

    async def create_tenant(
        self, created: identity.TenantCreated | None = None, *, ends_in: timedelta | None = TRIAL, **more: Any
    ) -> Tenant:
        """A tenant with an owner and a location, on trial; `ends_in` None: nothing is published of its subscription."""
        created = created or tenant_created(**more)
        state = created.data
        location = location_updated(state.tenant_id, new_id("loc"))
        trial = [] if ends_in is None else [subscription(state.tenant_id, datetime.now(UTC) + ends_in)]
        await self.publish(created, self._user(state.tenant_id, state.owner_id, "owner"), location, *trial)
        owner = self.session(state.tenant_id, state.owner_id, livemode=not state.test)
        return Tenant(self, state.tenant_id, state.name, owner, "", location.subject, state.model_dump())

    async def create_location(self, tenant: Tenant, body: dict[str, Any]) -> str:
        event = location_updated(tenant.id, new_id("loc"), **body)
        await self.publish(event)
        return event.subject

    async def create_merchant(self, tenant: Tenant, body: dict[str, Any]) -> Merchant:
        key = new_api_key(livemode=body.get("livemode", not tenant.document["test"]))
        merchant = Merchant(tenant, new_id("mer"), body, new_id("acct"), key)
        await self.publish(self.merchant_updated(merchant))
        return merchant

    async def create_staff(self, tenant: Tenant, body: dict[str, Any]) -> Api:
        user_id = new_id("usr")
        await self.publish(self._user(tenant.id, user_id, body.get("kind", "staff"), body["permissions"]))
        return self.session(tenant.id, user_id, livemode=body.get("livemode", not tenant.document["test"]))

    async def log_in_merchant(self, merchant: Merchant) -> Api:
        return self.session(merchant.tenant.id, merchant.id, livemode=not merchant.tenant.document["test"])

    async def reveal(self, merchant: Merchant) -> None:
        """Nothing to do: whoever publishes digests knows the keys."""

    async def update_tenant(self, tenant: Tenant, changes: dict[str, Any]) -> None:
        tenant.version += 1
        tenant.document.update(changes)
        await self.publish(self.tenant_updated(tenant))

    async def update_merchant(self, merchant: Merchant, changes: dict[str, Any]) -> None:
        merchant.version += 1
        merchant.document.update(changes)
        await self.publish(self.merchant_updated(merchant))

    async def rotate_key(self, merchant: Merchant, *, former_until: datetime) -> None:
        """Give a merchant another API Auth Key; the former one is valid until this instant."""
        former, merchant.key = merchant.key, new_api_key(livemode=merchant.key.startswith("wbk_live_"))
        merchant.version += 1
        await self.publish(self.merchant_updated(merchant, self._digest(former, valid_until=former_until)))

    async def end_trial_at(self, tenant: Tenant, instant: datetime) -> None:
        tenant.version += 1
        await self.publish(subscription(tenant.id, instant, sequence=tenant.version))

    def tenant_updated(self, tenant: Tenant) -> identity.TenantUpdated:
        """The event of a tenant as it is now."""
        state = identity.TenantState(**tenant.document)
        return identity.TenantUpdated(tenant_id=tenant.id, subject=tenant.id, sequence=tenant.version, data=state)

    def merchant_updated(self, merchant: Merchant, *former: identity.DigestState) -> identity.MerchantUpdated:
        """The event of a merchant as it is now."""
        fields = {
            name: value for name, value in merchant.document.items() if name in identity.MerchantState.model_fields
        }
        state = identity.MerchantState(
            merchant_id=merchant.id,
            tenant_id=merchant.tenant.id,
            sessions_valid_from=LONG_AGO,
            pair=identity.PairState(
                account_id=merchant.account_id,
                livemode=merchant.key.startswith("wbk_live_"),
                digests=[self._digest(merchant.key), *former],
            ),
            **{"status": "active", **fields},
        )
        return identity.MerchantUpdated(
            tenant_id=merchant.tenant.id, subject=merchant.id, sequence=merchant.version, data=state
        )

    def _user(self, tenant_id: str, user_id: str, kind: str, permissions: Sequence[str] = ()) -> identity.UserCreated:
        state = identity.UserState(
            user_id=user_id,
            tenant_id=tenant_id,
            kind=kind,
            status="active",
            permissions=list(permissions),
            sessions_valid_from=LONG_AGO,
        )
        return identity.UserCreated(tenant_id=tenant_id, subject=user_id, sequence=1, data=state)

    def _digest(self, key: str, *, valid_until: datetime | None = None) -> identity.DigestState:
        version = self.peppers.current_version
        return identity.DigestState(digest=self.peppers.digest(key), pepper_version=version, valid_until=valid_until)


def tenant_created(
    *, tenant_id: str | None = None, at: datetime | None = None, test: bool = False, **more: Any
) -> identity.TenantCreated:
    """The event of a new tenant, created now unless `at` says otherwise."""
    tenant_id = tenant_id or new_id("ten")
    state = identity.TenantState(
        tenant_id=tenant_id,
        name=unique("Livraisons"),
        country="CA",
        timezone="America/Montreal",
        currency="CAD",
        test=test,
        owner_id=new_id("usr"),
        **{"status": "active", **more},
    )
    at = at or datetime.now(UTC)
    return identity.TenantCreated(tenant_id=tenant_id, subject=tenant_id, sequence=1, time=at, data=state)


def subscription(
    tenant_id: str, access_until: datetime, *, sequence: int = 1, **features: bool | int
) -> billing.TrialExtended:
    """The event of a trial that ends at this instant, of a plan with these features."""
    state = billing.SubscriptionState(
        tenant_id=tenant_id, status="trialing", trial_ends_at=access_until, access_until=access_until, features=features
    )
    return billing.TrialExtended(tenant_id=tenant_id, subject=tenant_id, sequence=sequence, data=state)


def location_updated(tenant_id: str, location_id: str, *, sequence: int = 1, **fields: Any) -> identity.LocationUpdated:
    """The event of a location with these fields."""
    usual = {
        "type": "branch",
        "name": "Montréal",
        "timezone": "America/Montreal",
        "active": True,
        "is_default": False,
    }
    state = identity.LocationState(location_id=location_id, tenant_id=tenant_id, **{**usual, **fields})
    return identity.LocationUpdated(tenant_id=tenant_id, subject=location_id, sequence=sequence, data=state)
