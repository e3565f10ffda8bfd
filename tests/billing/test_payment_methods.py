"""Payment methods are shown, chosen and deleted; what is charged follows."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from shared.ids import new_id
from tests.harness.billing import Billing, Hangs
from tests.harness.client import document, refused
from tests.harness.people import Tenant, tenant_created

PATH = "/v1/billing/payment-methods"
SUBSCRIPTION = "/v1/billing/subscription"
PLAN = {"plan": "starter_monthly"}


async def methods(tenant: Tenant) -> list[dict[str, Any]]:
    """The tenant's payment methods, newest first."""
    found: list[dict[str, Any]] = (await tenant.owner.read(PATH))["data"]
    return found


async def test_the_newest_method_is_the_default_until_another_is_chosen(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    first, second = [await billing.add_payment_method(tenant) for _ in range(2)]
    newer, older = await methods(tenant)
    stale = {"If-Match": f'"{older["version"] - 1}"'}

    refused(await tenant.owner.post(f"{PATH}/{older['id']}/make-default", headers=stale), 412, "precondition_failed")
    answer = await tenant.owner.post(f"{PATH}/{older['id']}/make-default")
    again = await tenant.owner.create(f"{PATH}/{older['id']}/make-default")

    assert (newer["is_default"], older["is_default"]) == (True, False)
    assert (newer["label"], newer["provider"]) == ("Visa •••• 4242", "scripted")
    chosen = document(answer)
    assert answer.headers["ETag"] == f'"{chosen["version"]}"'
    assert (chosen["is_default"], chosen["version"]) == (True, older["version"] + 1)
    assert again == chosen == await tenant.owner.read(f"{PATH}/{older['id']}")
    assert [method["is_default"] for method in await methods(tenant)] == [False, True]
    await tenant.owner.create(SUBSCRIPTION, PLAN)
    await billing.until(tenant, status="active")
    assert [charge.method for charge in billing.provider.taken.values() if charge.tenant_id == tenant.id] == [first]
    assert second != first
    await billing.audited(older["id"], "payment_method.made_default")


async def test_a_method_that_is_chosen_pays_at_once_what_is_due(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    first, second = [await billing.add_payment_method(tenant) for _ in range(2)]
    (default, other) = await methods(tenant)
    by_hand = await tenant.owner.delete(f"{PATH}/{default['id']}")
    bought = await tenant.owner.create(SUBSCRIPTION, PLAN)

    await tenant.owner.create(f"{PATH}/{other['id']}/make-default")

    assert by_hand.status_code == 204
    assert (bought["status"], bought["payment_pending"]) == ("incomplete", True)
    await billing.until(tenant, status="active", payment_pending=False)
    assert [charge.method for charge in billing.provider.taken.values() if charge.tenant_id == tenant.id] == [first]
    assert second != first
    await billing.check_books(tenant)


async def test_a_method_is_deleted_once_and_charged_no_more(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    await billing.add_payment_method(tenant)
    (method,) = await methods(tenant)
    path = f"{PATH}/{method['id']}"

    refused(await tenant.owner.delete(path, headers={"If-Match": '"9"'}), 412, "precondition_failed")
    answers = [(await tenant.owner.delete(path)).status_code for _ in range(2)]

    assert answers == [204, 204]
    assert await methods(tenant) == []
    refused(await tenant.owner.get(path), 404, "payment_method_not_found")
    refused(await tenant.owner.post(f"{path}/make-default"), 404, "payment_method_not_found")
    chosen = {**PLAN, "payment_method": method["id"]}
    refused(await tenant.owner.post(SUBSCRIPTION, chosen), 404, "payment_method_not_found")
    await billing.audited(method["id"], "payment_method.deleted")


async def test_a_method_that_is_being_charged_is_not_deleted(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    card = await billing.add_payment_method(tenant)
    billing.provider.answer(card, Hangs())
    (method,) = await methods(tenant)

    await tenant.owner.create(SUBSCRIPTION, PLAN)

    refused(await tenant.owner.delete(f"{PATH}/{method['id']}"), 409, "payment_method_in_use")
    assert [kept["id"] for kept in await methods(tenant)] == [method["id"]]


async def test_a_deletion_and_a_purchase_at_once_never_charge_what_is_deleted(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    card = await billing.add_payment_method(tenant)
    billing.provider.answer(card, Hangs())
    (method,) = await methods(tenant)

    deleted, bought = await asyncio.gather(
        tenant.owner.delete(f"{PATH}/{method['id']}"), tenant.owner.create(SUBSCRIPTION, PLAN)
    )

    # Whichever came first: the purchase holds the method, or finds none and is paid by hand.
    assert bought["status"] == "incomplete"
    if deleted.status_code == 204:
        assert await methods(tenant) == []
        assert billing.provider.taken_of(tenant) == 0
    else:
        refused(deleted, 409, "payment_method_in_use")


async def test_without_a_default_the_next_payment_fails_and_a_method_that_is_given_makes_it_good(
    billing: Billing,
) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0, test=True))
    await tenant.owner.create("/v1/billing/test-clock")
    await billing.add_payment_method(tenant)
    await tenant.owner.create(SUBSCRIPTION, PLAN)
    active = await billing.until(tenant, status="active", payment_pending=False)
    (method,) = await methods(tenant)
    assert (await tenant.owner.delete(f"{PATH}/{method['id']}")).status_code == 204

    await billing.advance(tenant, datetime.fromisoformat(active["current_period_end"]) + timedelta(hours=1))

    late = await billing.until(tenant, status="past_due")
    assert (late["entitled"], late["payment_pending"]) == (True, True)
    first_failure = datetime.fromisoformat(active["current_period_end"])
    assert datetime.fromisoformat(late["next_payment_attempt_at"]) == first_failure + timedelta(days=2)
    opened = await tenant.owner.create("/v1/billing/checkout-sessions")
    await billing.pages.fill_in(opened["url"], "pays")
    await billing.until(tenant, status="active", payment_pending=False)
    await billing.check_books(tenant)


async def test_a_payment_method_is_its_tenants(billing: Billing) -> None:
    tenant, stranger = await billing.create_tenant(), await billing.create_tenant()
    await billing.add_payment_method(tenant)
    (method,) = await methods(tenant)

    assert await methods(stranger) == []
    for path in (f"{PATH}/{method['id']}", f"{PATH}/{new_id('pm')}"):
        refused(await stranger.owner.get(path), 404, "payment_method_not_found")
        refused(await stranger.owner.delete(path), 404, "payment_method_not_found")
        refused(await stranger.owner.post(f"{path}/make-default"), 404, "payment_method_not_found")
    assert [kept["is_default"] for kept in await methods(tenant)] == [True]
