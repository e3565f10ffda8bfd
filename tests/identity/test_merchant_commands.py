"""API access for all merchants that match: counted first, granted or revoked in the background, refusals named."""

from typing import Any

import pytest

from shared.bulk.worker import STEP_ROWS
from tests.harness.client import Api, document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.waiting import eventually

PATH = "/v1/merchant-commands"


async def command(caller: Api, name: str, filters: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A bulk command, once it has ended."""
    made = document(await caller.post(PATH, {"command": name, "filters": filters, **more}), 202)

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = await caller.read(f"{PATH}/{made['id']}")
        return found if found["status"] != "running" else None

    return await eventually(look, what="the bulk command has ended")


def numbers(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("status", "matched", "changed", "unchanged", "refused"))


async def test_access_is_counted_then_granted_and_what_cannot_have_it_is_named(
    identity: Identity, tenant: Tenant
) -> None:
    names = [f"Boulangerie {number}" for number in range(STEP_ROWS + 5)]
    made = [await tenant.create_merchant(api_access=False, business_name=name) for name in names]
    low = await tenant.create_merchant(api_access=False, level=1, business_name="Boulangerie basse")
    had = await tenant.create_merchant(business_name="Boulangerie haute")
    beside = await tenant.create_merchant(api_access=False, business_name="Fleuriste")

    dry = await command(tenant.owner, "grant_api_access", {"q": "boulangerie"}, dry_run=True)
    untouched = await tenant.owner.listed("/v1/merchants", api_access="true")
    run = await command(tenant.owner, "grant_api_access", {"q": "boulangerie"})

    count = len(made)
    assert numbers(dry) == numbers(run) == ("completed", count + 2, count, 1, 1)
    assert untouched == [had.id]
    assert [(one["id"], one["code"]) for one in run["refusals"]] == [(low.id, "merchant_level_required")]
    granted = set(await tenant.owner.listed("/v1/merchants", api_access="true"))
    assert granted == {had.id, *(merchant.id for merchant in made)}
    assert beside.id not in granted
    await identity.events(made[0].id, "merchant.created", "api_access.granted")
    integration = await made[-1].reveal()
    assert (await integration.get("/v1/auth/test")).status_code == 200


async def test_access_of_all_that_match_is_revoked(tenant: Tenant) -> None:
    merchants = [await tenant.create_merchant() for _ in range(3)]
    integration = await merchants[0].reveal()
    await tenant.create_merchant(reference_id="K-1")

    dry = await command(tenant.owner, "revoke_api_access", {"status": "active", "api_access": True}, dry_run=True)
    still = await integration.get("/v1/auth/test")
    one = await command(tenant.owner, "revoke_api_access", {"reference_id": "K-1"})
    rest = await command(tenant.owner, "revoke_api_access", {})

    assert numbers(dry) == ("completed", 4, 4, 0, 0)
    assert still.status_code == 200
    assert numbers(one) == ("completed", 1, 1, 0, 0)
    assert numbers(rest) == ("completed", 4, 3, 1, 0)
    assert await tenant.owner.listed("/v1/merchants", api_access="true") == []
    refused(await integration.get("/v1/auth/test"), 403, "api_access_off")


async def test_what_was_ordered_and_changed_stands_in_the_audit_trail(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    run = await command(tenant.owner, "revoke_api_access", {})

    events = (await tenant.owner.read("/v1/audit-events"))["data"]
    actions = {(one["action"], one["target"]): one for one in events}

    ordered = actions["merchant_command.ordered", run["id"]]
    revoked = actions["api_access.revoked", merchant.id]
    assert ordered["actor"] == revoked["actor"] == tenant.owner.subject_id
    assert revoked["request_id"] == ordered["request_id"] != ""


async def test_bulk_commands_are_for_those_who_may_grant_access(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    run = await command(tenant.owner, "grant_api_access", {})
    staff = await tenant.create_staff("settings.merchants.read", "settings.merchants.write")
    blind = await tenant.create_staff("settings.merchants.api_access")
    stranger = (await identity.create_tenant()).owner
    body = {"command": "revoke_api_access", "filters": {}}

    for caller in (staff, blind, await merchant.session(), await merchant.reveal()):
        assert (await caller.post(PATH, body)).status_code == 403
        assert (await caller.get(f"{PATH}/{run['id']}")).status_code == 403
        assert (await caller.post(f"{PATH}/{run['id']}/cancel")).status_code == 403
    refused(await stranger.get(f"{PATH}/{run['id']}"), 404, "bulk_command_not_found")
    refused(await tenant.owner.post(f"{PATH}/{run['id']}/cancel"), 409, "bulk_command_ended")
    assert (await tenant.owner.read(f"/v1/merchants/{merchant.id}"))["api_access"] is True


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"command": "disable"}, "/command"),
        ({"filters": {"level": 3}}, "/filters/level"),
        ({"filters": {"api_access": "true"}}, "/filters/api_access"),
        ({"filters": {"name": "x"}}, "/filters/name"),
    ],
)
async def test_an_impossible_command_is_refused_at_its_place(
    tenant: Tenant, change: dict[str, Any], pointer: str
) -> None:
    answer = await tenant.owner.post(PATH, {"command": "grant_api_access", "filters": {}, **change})

    assert pointers(refused(answer, 422, "invalid")) == [pointer]
