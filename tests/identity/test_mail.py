"""Mail to people, from the request that wants it to a real mail server."""

from tests.harness.identity import CONSOLE, Identity
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant


async def test_an_invitation_arrives_and_is_accepted(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    address = "ada.invited@waybill.test"
    body = {"email": address, "first_name": "Ada", "last_name": "Lovelace", "permissions": ["orders"]}

    made = (await company.owner.post("/v1/staff", body)).json()

    (mail,) = await box.wait_for(address)
    assert made["invitation_token"] is None
    assert mail.link.startswith(f"{CONSOLE}/invitation#token=")
    assert mail.link in mail.html
    accepted = await mailing.nobody.post(
        "/v1/invitations/accept", {"token": mail.token, "password": "twelve grey cats"}
    )
    assert accepted.status_code == 200, accepted.text
    assert (await mailing.log_in(company.id, address, "twelve grey cats")) is not None
