"""When credentials were last used: consumed from every service, stored without an event."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.ids import new_id
from tests.harness.bodies import PASSWORD
from tests.harness.identity import Identity
from tests.harness.people import Merchant, Tenant
from tests.harness.waiting import eventually

HOUR = timedelta(hours=1)


async def last_used(merchant: Merchant) -> datetime | None:
    """When the merchant's credentials were last used, as the merchant and as an administrator see it."""
    settings = await (await merchant.session()).read("/v1/api-settings")
    listed = (await merchant.tenant.owner.read("/v1/api-settings/accounts"))["data"]
    seen = {one["merchant_id"]: one["last_used_at"] for one in listed}
    assert seen.get(merchant.id, settings["last_used_at"]) == settings["last_used_at"]
    return instant(settings["last_used_at"])


def instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


async def handled(identity: Identity, tenant: Tenant) -> None:
    """Returns when all uses published so far are handled: a later use, published to the same partition, is shown."""
    sentinel = await tenant.create_merchant()
    await identity.publish_uses({sentinel.document["api_account_id"]: datetime.now(UTC) - HOUR})

    session = await sentinel.session()

    async def shows() -> bool:
        return (await session.read("/v1/api-settings"))["last_used_at"] is not None

    await eventually(shows, what="the use of the sentinel")


async def test_uses_in_identity_are_seen_for_api_credentials_and_keys(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    made = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["orders"]})
    unused = await tenant.owner.create("/v1/api-keys", {"name": "forgotten", "scopes": ["orders"]})
    assert await last_used(merchant) is None
    before = datetime.now(UTC)

    await (await merchant.reveal()).get("/v1/auth/test")
    await identity.nobody.get("/v1/auth/test", headers={"X-Api-Key": made["api_key"]})

    async def keys() -> dict[str, Any] | None:
        listed = (await tenant.owner.read("/v1/api-keys"))["data"]
        found = {one["id"]: one for one in listed}
        return found if found[made["id"]]["last_used_at"] else None

    found = await eventually(keys, what="the use of the key")
    for used_at in (await last_used(merchant), instant(found[made["id"]]["last_used_at"])):
        assert used_at is not None
        assert before <= used_at <= datetime.now(UTC)
    assert found[made["id"]]["version"] == made["version"]
    assert found[unused["id"]]["last_used_at"] is None


async def test_the_latest_use_holds_whatever_order_and_however_often_it_is_published(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    account_id = merchant.document["api_account_id"]
    latest = datetime.now(UTC) - HOUR

    for used_at in (latest - HOUR, latest, latest, latest - 2 * HOUR):
        await identity.publish_uses({account_id: used_at})
    await handled(identity, tenant)

    assert await last_used(merchant) == latest
    await identity.publish_uses({account_id: latest - HOUR})
    await handled(identity, tenant)
    assert await last_used(merchant) == latest


async def test_a_use_in_the_future_is_one_of_now(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    before = datetime.now(UTC)

    await identity.publish_uses({merchant.document["api_account_id"]: before + 24 * HOUR})
    await handled(identity, tenant)

    used_at = await last_used(merchant)
    assert used_at is not None
    assert before - timedelta(seconds=1) <= used_at <= datetime.now(UTC)


async def test_ids_that_nobody_has_are_ignored(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    account_id = merchant.document["api_account_id"]
    used_at = datetime.now(UTC) - HOUR
    strangers = (new_id("acct"), new_id("key"), merchant.id, f"key_{account_id.partition('_')[2]}", "acct_?", "")

    await identity.publish_uses({**dict.fromkeys(strangers, used_at + HOUR), account_id: used_at})
    await handled(identity, tenant)

    assert await last_used(merchant) == used_at


async def test_a_use_changes_nothing_else_and_publishes_nothing(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    before = await tenant.owner.read(f"/v1/merchants/{merchant.id}")

    await identity.publish_uses({before["api_account_id"]: datetime.now(UTC)})
    await handled(identity, tenant)
    ended = await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access")

    assert await last_used(merchant) is not None
    assert ended.status_code == 204
    assert (await tenant.owner.read(f"/v1/merchants/{merchant.id}"))["version"] == before["version"] + 1
    await identity.events(merchant.id, "merchant.created", "api_access.granted", "api_access.revoked")
    trail = (await tenant.owner.read("/v1/audit-events"))["data"]
    actions = [one["action"] for one in trail if one["target"] == merchant.id]
    assert sorted(actions) == ["api_access.granted", "api_access.revoked", "merchant.created"]


async def test_rotation_revocation_and_a_new_grant_leave_the_last_use_as_it_was(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    account_id, used_at = merchant.document["api_account_id"], datetime.now(UTC) - HOUR
    await identity.publish_uses({account_id: used_at})
    await handled(identity, tenant)
    path = f"/v1/merchants/{merchant.id}/api-access"

    await (await merchant.session()).create("/v1/api-settings/rotate", {"password": PASSWORD})
    assert await last_used(merchant) == used_at
    await tenant.owner.delete(path)
    assert await last_used(merchant) == used_at

    # A use before the revocation, published late.
    await identity.publish_uses({account_id: used_at + timedelta(minutes=1)})
    await handled(identity, tenant)
    await tenant.owner.create(path)
    assert await last_used(merchant) == used_at + timedelta(minutes=1)
