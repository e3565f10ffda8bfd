"""User API keys."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import text

from identity.app import create_service
from shared.api import Input, Secret
from tests.harness.bodies import email, merchant_body, tenant_body, unique
from tests.harness.client import Api, document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant


async def test_a_user_key_narrows_its_owner_and_is_shown_once(identity: Identity, tenant: Tenant) -> None:
    made = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings.merchants.read"]})
    key = identity.nobody.using({"X-Api-Key": made["api_key"]}, made)

    assert made["api_key"].startswith("wbk_test_")
    assert (await key.get("/v1/merchants")).status_code == 200
    refused(await key.get("/v1/locations"), 403, "permission_missing")
    refused(await key.post("/v1/sessions/refresh"), 415, "unsupported_media_type")
    assert (await key.read("/v1/permissions"))["scopes"] == ["settings.merchants.read"]
    assert made["api_key"] not in str(await tenant.owner.read("/v1/api-keys"))

    assert (await tenant.owner.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    assert (await tenant.owner.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    refused(await key.get("/v1/merchants"), 401, "credential_revoked")
    await identity.events(made["id"], "credential.issued", "credential.revoked")


async def test_a_key_cannot_have_what_its_owner_lacks(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.api_keys.write", "orders.jobs.read")
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    too_much = await clerk.post("/v1/api-keys", {"name": "ERP", "scopes": ["orders"]})
    of_the_past = await clerk.post("/v1/api-keys", {"name": "x", "scopes": ["orders.jobs.read"], "expires_at": past})
    of_the_other_mode = await clerk.post(
        "/v1/api-keys", {"name": "x", "scopes": ["orders.jobs.read"], "livemode": True}
    )
    of_nobody = await identity.platform.post(
        "/v1/api-keys", {"name": "x", "scopes": ["orders"]}, headers={"X-Tenant-Id": tenant.id}
    )

    refused(too_much, 403, "permission_not_held")
    assert pointers(refused(of_the_past, 422, "invalid")) == ["/expires_at"]
    assert pointers(refused(of_the_other_mode, 422, "invalid")) == ["/livemode"]
    refused(of_nobody, 403, "user_required")


async def test_a_key_never_outlives_the_key_that_made_it(identity: Identity, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    soon, later = ((now + timedelta(hours=hours)).isoformat() for hours in (1, 2))
    body = {"name": "ERP", "scopes": ["settings.api_keys.write", "orders"]}

    async def make(maker: Api, **more: str) -> Api:
        made = await maker.create("/v1/api-keys", {**body, **more})
        return identity.nobody.using({"X-Api-Key": made["api_key"]}, made)

    parent = await make(tenant.owner, expires_at=soon)
    sibling = await make(tenant.owner)
    child = await make(parent)
    grandchild = await make(child)
    outliving = await parent.post("/v1/api-keys", {**body, "expires_at": later})
    exceeding = await parent.post("/v1/api-keys", {**body, "scopes": ["settings"]})
    await tenant.owner.delete(f"/v1/api-keys/{parent.document['id']}")

    assert child.document["expires_at"] == grandchild.document["expires_at"] == parent.document["expires_at"]
    assert sibling.document["expires_at"] is None
    assert pointers(refused(outliving, 422, "invalid")) == ["/expires_at"]
    refused(exceeding, 403, "permission_not_held")
    for key in (parent, child, grandchild):
        refused(await key.get("/v1/auth/test"), 401, "credential_revoked")
    assert (await sibling.get("/v1/auth/test")).status_code == 200


async def test_keys_of_one_user_do_not_get_each_others_answers(tenant: Tenant) -> None:
    scopes = ["settings.api_keys.write", "settings.staff.write", "orders"]
    keys = [await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": scopes}) for _ in range(2)]
    first, second = (tenant.owner.using({"X-Api-Key": key["api_key"]}) for key in keys)
    once = {"Idempotency-Key": "once"}

    for path, body in (
        ("/v1/api-keys", {"name": "child", "scopes": ["orders"]}),
        ("/v1/staff", {"email": email(), "first_name": "Ada", "last_name": "L", "permissions": []}),
    ):
        made = await first.create(path, body, headers=once)
        again = refused(await first.post(path, body, headers=once), 409, "already_created")
        other = await second.post(path, body, headers=once)

        assert again["existing_id"] == made["id"]
        assert "idempotency-replayed" not in other.headers
        assert other.json().get("id") != made["id"]


async def test_no_secret_is_kept_for_repeats(identity: Identity, tenant: Tenant) -> None:
    once = {"Idempotency-Key": "kept"}
    invited = {**merchant_body(tenant.default_location), "login_email": email()}
    del invited["password"]
    person = {"email": email(), "first_name": "Ada", "last_name": "L", "permissions": []}
    owner, platform = tenant.owner, identity.platform
    merchant = await owner.create("/v1/merchants", invited, headers=once)
    answers = [
        merchant,
        await owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["orders"]}, headers=once),
        await owner.create("/v1/staff", person, headers=once),
        await platform.create("/v1/tenants", tenant_body(unique("Invited")), headers=once),
        document(await owner.patch(f"/v1/merchants/{merchant['id']}", {"login_email": email()}, headers=once)),
    ]
    secrets = {one.get("api_key") or one["invitation_token"] for one in answers}

    service = create_service(identity.settings)
    async with service.database.reading() as session:
        rows = (await session.execute(text("SELECT scope, sealed_body FROM idempotency_keys"))).all()
    await service.database.close()
    kept = [
        service.response_encryptor.decrypt(bytes(row.sealed_body), associated_data=bytes(row.scope).hex())
        for row in rows
    ]

    assert len(secrets) == 5
    assert len(kept) >= 5
    assert not [one for one in kept if any(secret.encode() in one for secret in secrets)]


def test_every_answer_that_has_a_secret_is_one_by_type() -> None:
    names = {"api_key", "api_auth_key", "secret", "token", "refresh_token", "invitation_token"}

    def answers(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for one in model.__subclasses__():
            yield from answers(one)
            if one.__module__.endswith(".schemas") and names & one.model_fields.keys():
                yield one

    found = {one for one in answers(BaseModel) if not issubclass(one, Input)}

    assert len(found) >= 6
    assert [one.__name__ for one in found if not issubclass(one, Secret)] == []
