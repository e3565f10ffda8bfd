"""Invitations: listed, sent again, withdrawn, and accepted with what the inviter could still grant."""

from typing import Any

from tests.harness.bodies import PASSWORD, email, merchant_body, staff_body, tenant_body, unique
from tests.harness.client import Api, document, refused
from tests.harness.identity import Identity
from tests.harness.mailbox import Mailbox
from tests.harness.people import TRIAL, Tenant

PATH = "/v1/invitations"


def invited_staff(*permissions: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in staff_body(*permissions).items() if key != "password"} | more


async def accepted(identity: Identity, token: str) -> dict[str, Any]:
    return document(await identity.nobody.post(f"{PATH}/accept", {"token": token, "password": PASSWORD}))


async def refused_token(identity: Identity, token: str) -> None:
    body = {"token": token, "password": PASSWORD}
    refused(await identity.nobody.post(f"{PATH}/accept", body), 404, "invitation_not_found")


async def test_an_invitation_is_listed_sent_again_and_accepted_once(identity: Identity, tenant: Tenant) -> None:
    made = await tenant.owner.create("/v1/staff", invited_staff("orders"))
    path = f"{PATH}/{made['invitation_id']}"

    (listed,) = (await tenant.owner.read(PATH))["data"]
    again = document(await tenant.owner.post(f"{path}/resend"))
    await refused_token(identity, made["invitation_token"])
    person = await accepted(identity, again["invitation_token"])
    await refused_token(identity, again["invitation_token"])

    assert (listed["id"], listed["status"]) == (made["invitation_id"], "open")
    assert listed["person"]["id"] == made["id"] == person["principal"]["id"]
    assert again["id"] == listed["id"]
    assert again["invitation_token"] not in str(listed)
    assert (await tenant.owner.read(PATH))["data"] == []
    refused(await tenant.owner.post(f"{path}/resend"), 404, "invitation_not_found")
    await identity.audited(made["id"], "user.created", "invitation.resent", "invitation.accepted")


async def test_a_withdrawn_invitation_is_dead_until_it_is_sent_again(identity: Identity, tenant: Tenant) -> None:
    body = merchant_body(tenant.default_location)
    del body["password"]
    made = await tenant.owner.create("/v1/merchants", body)
    path = f"{PATH}/{made['invitation_id']}"

    for _ in range(2):
        assert (await tenant.owner.delete(path)).status_code == 204

    await refused_token(identity, made["invitation_token"])
    (listed,) = (await tenant.owner.read(PATH))["data"]
    assert (listed["status"], listed["invitation_expires_at"]) == ("withdrawn", None)
    again = document(await tenant.owner.post(f"{path}/resend"))
    await accepted(identity, again["invitation_token"])
    await identity.log_in(tenant.id, body["login_email"])
    await identity.audited(
        made["id"], "merchant.created", "invitation.withdrawn", "invitation.resent", "invitation.accepted"
    )


async def test_each_kind_of_invitation_has_its_permission(identity: Identity, tenant: Tenant) -> None:
    body = merchant_body(tenant.default_location, api_access=True)
    del body["password"]
    merchant = await tenant.owner.create("/v1/merchants", body)
    staff = await tenant.owner.create("/v1/staff", invited_staff("settings"))
    for_staff = await tenant.create_staff("settings.staff.write")
    for_merchants = await tenant.create_staff("settings.merchants.write")
    stranger = await identity.create_tenant()

    def listed(page: dict[str, Any]) -> list[str]:
        return [one["id"] for one in page["data"]]

    async def resend(caller: Api, made: dict[str, Any]) -> Any:
        return await caller.post(f"{PATH}/{made['invitation_id']}/resend")

    assert listed(await tenant.owner.read(PATH)) == [staff["invitation_id"], merchant["invitation_id"]]
    assert listed(await for_staff.read(PATH)) == [staff["invitation_id"]]
    assert listed(await for_merchants.read(PATH)) == [merchant["invitation_id"]]
    problem = refused(await (await tenant.create_staff("orders")).get(PATH), 403, "permission_missing")
    assert problem["required"] == ["settings.staff.write", "settings.merchants.write"]
    refused(await resend(for_merchants, staff), 403, "permission_missing")
    refused(await resend(for_staff, merchant), 403, "permission_missing")
    # Whoever got the token would get more than they hold.
    refused(await resend(for_staff, staff), 403, "permission_not_held")
    refused(await resend(for_merchants, merchant), 403, "permission_missing")
    refused(await resend(stranger.owner, staff), 404, "invitation_not_found")
    refused(await tenant.owner.delete(f"{PATH}/ivt_01h455vb4pex5vsknk084sn02q"), 404, "invitation_not_found")


async def test_an_owner_is_invited_again_by_the_platform_alone(identity: Identity) -> None:
    owner = {"email": email("owner"), "first_name": "Ida", "last_name": "Invited"}
    made = await identity.platform.create("/v1/tenants", tenant_body(unique("Invitation"), owner=owner))
    operator = identity.platform.in_tenant(made["id"])

    await identity.begin_trial(made["id"], ends_in=TRIAL)
    again = document(await operator.post(f"{PATH}/{made['invitation_id']}/resend"))

    await accepted(identity, again["invitation_token"])
    await identity.log_in(made["id"], owner["email"])


async def test_who_accepts_gets_what_the_inviter_could_still_grant(identity: Identity, tenant: Tenant) -> None:
    boss = await tenant.create_staff("settings", "orders", "reports")
    held = ["orders.jobs.read", "reports", "settings.staff.read"]

    async def invite() -> dict[str, Any]:
        return await boss.create("/v1/staff", invited_staff(*held))

    async def permissions_of(made: dict[str, Any]) -> list[str]:
        found: list[str] = (await tenant.owner.read(f"/v1/staff/{made['id']}/permissions"))["permissions"]
        return found

    kept, vouched_for, orphaned = await invite(), await invite(), await invite()
    path = f"/v1/staff/{boss.subject_id}"
    document(await tenant.owner.put(f"{path}/permissions", {"permissions": ["settings", "orders"]}))
    again = document(await tenant.owner.post(f"{PATH}/{vouched_for['invitation_id']}/resend"))

    await accepted(identity, kept["invitation_token"])
    await accepted(identity, again["invitation_token"])
    await tenant.owner.create(f"{path}/disable")
    await accepted(identity, orphaned["invitation_token"])

    assert await permissions_of(kept) == ["orders.jobs.read", "settings.staff.read"]
    assert await permissions_of(vouched_for) == held
    assert await permissions_of(orphaned) == []
    *_, event = await identity.audited(kept["id"], "user.created", "invitation.accepted")
    assert event.after == {"withheld": ["reports"]}


async def test_an_invitation_that_is_sent_again_arrives(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    body = invited_staff("orders", email=email("again"))
    made = await company.owner.create("/v1/staff", body)
    await box.wait_for(body["email"])

    again = document(await company.owner.post(f"{PATH}/{made['invitation_id']}/resend"))

    first, second = await box.wait_for(body["email"], 2)
    assert again["invitation_token"] is None
    await refused_token(mailing, first.token)
    await accepted(mailing, second.token)
