"""Mail to people, from the request that wants it to a real mail server."""

from sqlalchemy import text

from tests.harness.bodies import PASSWORD, email, merchant_body, staff_body, tenant_body, unique
from tests.harness.client import document, refused
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


async def test_owners_and_merchants_are_invited_in_their_language(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    owner, merchant = email(), email()
    body = tenant_body(unique("Messageries"))
    body["owner"] = {**body["owner"], "email": owner, "language": "fr", "password": None}

    made = document(await mailing.platform.post("/v1/tenants", body), 201)
    await company.owner.create(
        "/v1/merchants", {**merchant_body(company.default_location), "login_email": merchant, "password": None}
    )

    (to_owner,), (to_merchant,) = await box.wait_for(owner), await box.wait_for(merchant)
    assert made["invitation_token"] is None
    assert made["owner"]["language"] == "fr"
    assert to_owner.message["Subject"] == f"[Test] Votre invitation chez {body['name']}"
    assert "Vous en êtes le propriétaire" in to_owner.text
    assert "You are invited to ship" in to_merchant.text
    assert to_owner.token != to_merchant.token


async def test_a_new_address_of_an_invited_person_gets_the_living_token(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    first, second = email(), email()
    made = await company.owner.create("/v1/staff", {**staff_body("orders"), "email": first, "password": None})
    (former,) = await box.wait_for(first)

    document(await company.owner.patch(f"/v1/staff/{made['id']}", {"email": second}))

    (present,) = await box.wait_for(second)
    answers = [
        await mailing.nobody.post("/v1/invitations/accept", {"token": mail.token, "password": PASSWORD})
        for mail in (former, present)
    ]
    assert [answer.status_code for answer in answers] == [404, 200]


async def test_a_merchant_is_told_when_its_key_is_shown_or_replaced(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    merchant = await company.create_merchant()
    address = merchant.document["login_email"]
    session = await merchant.session()

    for path in ("/v1/api-settings/reveal", "/v1/api-settings/rotate"):
        document(await session.post(path, {"password": PASSWORD}))

    revealed, rotated = sorted(await box.wait_for(address, 2), key=lambda mail: str(mail.message["Subject"]))
    assert "revealed" in revealed.message["Subject"]
    assert "rotated" in rotated.message["Subject"]
    for mail in (revealed, rotated):
        assert merchant.document["api_account_id"] in mail.text
        assert "wbk_" not in mail.text + mail.html


async def test_a_person_is_told_of_a_new_password(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    address = email()
    person = await company.create_staff("orders", email=address)

    document(await person.post("/v1/password", {"current_password": PASSWORD, "new_password": "twelve grey cats"}))

    (mail,) = await box.wait_for(address)
    assert "password of your account" in mail.text
    assert "twelve grey cats" not in mail.text


async def test_both_people_are_told_that_the_ownership_has_moved(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    address = email()
    heir = await company.create_staff("orders", email=address)

    document(
        await company.owner.post("/v1/tenant/transfer-ownership", {"user_id": heir.subject_id, "password": PASSWORD})
    )

    for recipient in (address, company.owner_email):
        (mail,) = await box.wait_for(recipient)
        assert "new owner" in mail.message["Subject"]


async def test_a_change_that_is_rolled_back_sends_nothing(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    address, taken = email(), email()
    await company.create_staff("orders", email=taken)
    body = {**staff_body("orders"), "password": None}

    refused(await company.owner.post("/v1/staff", {**body, "email": taken}), 409, "email_taken")
    await company.owner.create("/v1/staff", {**body, "email": address})

    await box.wait_for(address)
    assert box.to(taken) == []


async def test_without_a_mail_server_the_answer_has_the_token_and_nothing_waits(
    identity: Identity, tenant: Tenant
) -> None:
    made = await tenant.owner.create("/v1/staff", {**staff_body("orders"), "email": email(), "password": None})

    async with identity.database.reading() as session:
        waiting = await session.scalar(text("SELECT count(*) FROM tasks WHERE kind IN ('mail', 'mail_notice')"))
    assert made["invitation_token"].startswith("wbi_")
    assert waiting == 0
