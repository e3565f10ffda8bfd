"""A merchant that has forgotten its password gets back to its API Auth Key, by its mailbox alone."""

from datetime import UTC, datetime

from tests.harness.bodies import smallest_job
from tests.harness.client import document, refused
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant
from tests.harness.suite import SERVICES, Suite
from tests.harness.waiting import eventually

NEW_PASSWORD = "twelve grey cats on a roof"
OVERLAP_SECONDS = 8


async def test_a_merchant_that_forgot_its_password_gets_its_key_back(
    suite: Suite, tenant: Tenant, box: Mailbox
) -> None:
    bakery = await tenant.create_merchant()
    former_key = await bakery.reveal()
    address = bakery.document["login_email"]
    identity = suite.nobody.at("identity")

    # Nobody at the bakery knows the password any more. Somebody asks for a new one; the mail has a link.
    document(await identity.post("/v1/password-resets", {"tenant": tenant.name, "email": address}), 202)

    async def link_arrived() -> bool:
        return bool(box.saying(address, "/password-reset#"))

    await eventually(link_arrived, what="the mail with the link")
    token = box.saying(address, "/password-reset#")[0].token
    document(await identity.post("/v1/password-resets/confirm", {"token": token, "password": NEW_PASSWORD}))

    # Its integration has not noticed anything.
    assert (await former_key.at("jobs").post("/v1/jobs", smallest_job())).status_code == 201

    # With the new password it gets in, and with the new password again to its key.
    session = (await suite.people.log_in(tenant.id, address, NEW_PASSWORD)).at("identity")
    refused(await session.post("/v1/api-settings/reveal", {}), 403, "step_up_required")
    stepped_up = await session.stepped_up(NEW_PASSWORD)
    revealed = document(await stepped_up.post("/v1/api-settings/reveal", {}))
    assert (revealed["api_account_id"], revealed["api_auth_key"]) == (bakery.account_id, bakery.key)

    # Who else may have seen that key? It gets another one, and has some time to put it in place.
    rotation = {"overlap_seconds": OVERLAP_SECONDS}
    rotated = document(await stepped_up.post("/v1/api-settings/rotate", rotation))
    until = datetime.fromisoformat(rotated["previous_key_valid_until"])
    during = await former_key.at("jobs").get("/v1/jobs")
    assert datetime.now(UTC) >= until or during.status_code == 200
    new_key = suite.nobody.basic(rotated["api_account_id"], rotated["api_auth_key"])
    await new_key.settled()

    # Then the former key has ended, in every service by its own clock; the new one works.
    for service in SERVICES:

        async def ended(service: str = service) -> bool:
            return (await former_key.at(service).get("/v1/auth/test")).status_code == 401

        await eventually(ended, what=f"the former key has ended in {service}")
    assert datetime.now(UTC) >= until
    assert (await new_key.at("jobs").post("/v1/jobs", smallest_job())).status_code == 201

    # All of it can be read afterwards.
    trail = (await tenant.owner.at("identity").read(f"/v1/audit-events?target={bakery.id}"))["data"]
    told = [one["action"] for one in reversed(trail)]
    assert told[-4:] == ["password_reset.requested", "password.reset", "credential.revealed", "credential.rotated"]
