"""Mail to people, from the request that wants it to a real mail server."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.identity import Identity, running
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack

CONSOLE = "https://console.waybill.test"


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as running_box:
        yield running_box


@pytest.fixture(scope="module")
async def mailing(backing: BackingStack, box: Mailbox) -> AsyncIterator[Identity]:
    """Identity with a mail server."""
    async with running(backing, smtp_url=box.url, console_base_url=CONSOLE) as service:
        yield service


@pytest.fixture
async def company(mailing: Identity) -> Tenant:
    return await mailing.create_tenant()


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
