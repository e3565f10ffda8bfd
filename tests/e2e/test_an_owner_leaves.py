"""A story: an owner hands over and leaves."""

from shared.access.permissions import ALL_SECTIONS
from tests.harness.bodies import PASSWORD
from tests.harness.client import document, refused
from tests.harness.suite import SERVICES, Suite
from tests.harness.waiting import eventually


async def test_an_owner_hands_over_and_leaves(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    odile, odiles_id = tenant.owner, tenant.owner.subject_id
    sam = await tenant.create_staff("orders")

    # Odile wants to leave. Nobody can disable an owner, not even she herself.
    refused(await odile.at("identity").post(f"/v1/staff/{odiles_id}/disable"), 409, "owner_protected")

    # She hands the company over to Sam, who could see jobs and nothing else until now.
    refused(await sam.at("billing").get("/v1/billing/subscription"), 403, "permission_missing")
    handed_over = {"user_id": sam.subject_id, "password": PASSWORD}
    document(await odile.at("identity").post("/v1/tenant/transfer-ownership", handed_over))

    # Every service hears of both at once: Sam owns the company there, and Odile's session has ended.
    for service in SERVICES:

        async def heard(service: str = service) -> bool:
            return (await sam.at(service).read("/v1/permissions"))["is_owner"] is True

        await eventually(heard, what=f"{service} knows the new owner")
        refused(await odile.at(service).get("/v1/permissions"), 401, "session_revoked")
    document(await sam.at("billing").get("/v1/billing/subscription"))

    # Odile can still log in, to show Sam around: she is a member of staff now, with all permissions.
    odile = await (await suite.people.log_in(tenant.id, tenant.owner_email)).settled()
    shown = await odile.at("jobs").read("/v1/permissions")
    assert (shown["principal"], all(shown["permissions"].values())) == ("staff", True)
    granted = await sam.at("identity").read(f"/v1/staff/{odiles_id}/permissions")
    assert granted["permissions"] == sorted(ALL_SECTIONS)

    # On her last day Sam disables her account, and she is out everywhere.
    document(await sam.at("identity").post(f"/v1/staff/{odiles_id}/disable"))
    for service in SERVICES:

        async def out(service: str = service) -> bool:
            return (await odile.at(service).get("/v1/permissions")).status_code == 401

        await eventually(out, what=f"{service} refuses her")
