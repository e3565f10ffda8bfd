"""Forgotten passwords: asked for without telling who exists, mailed, and used once."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import text

from identity.app import create_app
from identity.logins import rules
from tests.harness.bodies import PASSWORD, email
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.mailbox import Mailbox
from tests.harness.people import Merchant, Tenant
from tests.harness.services import serve
from tests.harness.waiting import eventually

ASK, CONFIRM = "/v1/password-resets", "/v1/password-resets/confirm"
NEW = "twelve grey cats on a roof"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def ask(identity: Identity, tenant: Tenant, address: str) -> dict[str, object]:
    return document(await identity.nobody.post(ASK, {"tenant": tenant.id, "email": address}), 202)


async def token_of(identity: Identity, merchant: Merchant, box: Mailbox) -> str:
    """The token that a merchant gets for a new password."""
    address = merchant.document["login_email"]
    before = len(box.saying(address, "/password-reset#"))
    await ask(identity, merchant.tenant, address)

    async def arrived() -> bool:
        return len(box.saying(address, "/password-reset#")) > before

    await eventually(arrived, what="the mail with the token")
    return box.saying(address, "/password-reset#")[-1].token


async def forget_mails(identity: Identity, merchant: Merchant) -> None:
    """Let the last mail have been written long ago."""
    async with identity.database.transaction() as session:
        await session.execute(
            text("UPDATE logins SET reset_mailed_at = '{}' WHERE subject_id = :id"), {"id": merchant.id}
        )


def test_a_stranger_who_asks_again_and_again_leaves_the_owner_a_token_that_works() -> None:
    mailed: list[datetime] = []
    for second in range(7200):
        now = NOW + timedelta(seconds=second)
        if rules.may_mail_reset(mailed, now):
            mailed = [*rules.recent_resets(mailed, now), now]

    pauses = [later - earlier for earlier, later in pairwise(mailed)]
    assert len(mailed) <= 13
    assert max(pauses) < rules.RESET_LIFE / 2
    assert not rules.may_mail_reset([NOW], NOW + timedelta(seconds=59))
    assert rules.may_mail_reset([NOW], NOW + timedelta(seconds=60))


async def test_a_forgotten_password_is_reset_once(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    merchant = await company.create_merchant()
    session, integration = await merchant.session(), await merchant.reveal()
    address = merchant.document["login_email"]
    token = await token_of(mailing, merchant, box)

    assert (await mailing.nobody.get(f"{CONFIRM}?token={token}")).status_code == 405
    refused(await mailing.nobody.post(CONFIRM, {"token": token, "password": "short"}), 422, "invalid")
    done = document(await mailing.nobody.post(CONFIRM, {"token": token, "password": NEW}))
    again = await mailing.nobody.post(CONFIRM, {"token": token, "password": PASSWORD})

    assert done["principal"]["id"] == merchant.id
    refused(again, 404, "password_reset_not_found")
    refused(await session.get("/v1/auth/test"), 401, "session_revoked")
    renewal = {"refresh_token": session.document["refresh_token"]}
    refused(await mailing.nobody.post("/v1/sessions/refresh", renewal), 401, "refresh_token_wrong")
    old = {"tenant": company.id, "email": address, "password": PASSWORD}
    refused(await mailing.nobody.post("/v1/sessions", old), 401, "credentials_wrong")
    await mailing.log_in(company.id, address, NEW)
    assert (await integration.get("/v1/auth/test")).status_code == 200

    async def told() -> bool:
        return bool(box.saying(address, "API keys stay valid"))

    await eventually(told, what="the mail about the new password")
    trail = (await company.owner.read(f"/v1/audit-events?target={merchant.id}"))["data"]
    assert {"password.reset", "password_reset.requested"} <= {one["action"] for one in trail}
    assert token not in str(trail)
    (reset,) = [one for one in trail if one["action"] == "password.reset"]
    assert (reset["actor"], reset["via"]) == (merchant.id, "password_reset")


async def test_every_account_and_every_invented_one_hears_the_same(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    known = (await company.create_merchant()).document["login_email"]
    invited = {"email": email("invited"), "first_name": "Ida", "last_name": "I", "permissions": []}
    await company.owner.create("/v1/staff", invited)

    answers = [
        await mailing.nobody.post(ASK, {"tenant": tenant, "email": address})
        for tenant, address in (
            (company.id, known),
            (company.name.upper(), known.upper()),
            (company.id, email("nobody")),
            (company.id, "no address at all"),
            (company.id, invited["email"]),
            ("No such tenant", known),
        )
    ]

    assert {(answer.status_code, answer.text) for answer in answers} == {
        (202, '{"object":"password_reset_request","valid_seconds":1200}')
    }
    assert len(await box.wait_for(known)) == 1
    # The invitation stays the way in of those who were invited.
    await box.wait_for(str(invited["email"]))
    assert box.saying(str(invited["email"]), "/password-reset#") == []


async def test_a_token_dies_with_a_later_one_and_with_its_address(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    merchant = await company.create_merchant()
    first = await token_of(mailing, merchant, box)
    await forget_mails(mailing, merchant)
    second = await token_of(mailing, merchant, box)

    refused(await mailing.nobody.post(CONFIRM, {"token": first, "password": NEW}), 404, "password_reset_not_found")
    async with mailing.database.transaction() as session:
        await session.execute(
            text("UPDATE logins SET reset_expires_at = now() WHERE subject_id = :id"), {"id": merchant.id}
        )
    refused(await mailing.nobody.post(CONFIRM, {"token": second, "password": NEW}), 404, "password_reset_not_found")
    await forget_mails(mailing, merchant)
    third = await token_of(mailing, merchant, box)
    person = await merchant.session()
    body = {"current_password": PASSWORD, "new_password": "yet another password"}
    document(await person.post("/v1/password", body))
    refused(await mailing.nobody.post(CONFIRM, {"token": third, "password": NEW}), 404, "password_reset_not_found")


async def test_asking_at_once_again_mails_nothing_and_ends_nothing(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    merchant = await company.create_merchant()
    token = await token_of(mailing, merchant, box)

    await ask(mailing, company, merchant.document["login_email"])

    async def worked_on() -> bool:
        async with mailing.database.reading() as session:
            waiting = text("SELECT count(*) FROM tasks WHERE kind = 'password_reset_request'")
            return bool((await session.execute(waiting)).scalar_one() == 0)

    await eventually(worked_on, what="the request was worked on")
    document(await mailing.nobody.post(CONFIRM, {"token": token, "password": NEW}))
    assert len(box.saying(merchant.document["login_email"], "/password-reset#")) == 1


async def test_requests_are_limited_by_the_address_that_they_come_from(identity: Identity, tenant: Tenant) -> None:
    slow = identity.settings.model_copy(update={"address_attempts_per_minute": 3.0, "trusted_proxies": "127.0.0.0/8"})
    body = {"tenant": tenant.id, "email": tenant.owner_email}

    async with serve(Identity, create_app, slow) as service:

        async def asked_from(address: str) -> int:
            return (await service.nobody.post(ASK, body, headers={"X-Forwarded-For": address})).status_code

        one = [await asked_from("203.0.113.1") for _ in range(5)]
        other = await asked_from("203.0.113.2")
        log_in = await service.nobody.post(
            "/v1/sessions", {**body, "password": PASSWORD}, headers={"X-Forwarded-For": "203.0.113.1"}
        )

    assert one[:3] == [202] * 3
    assert one[-1] == 429
    assert other == 202
    assert log_in.status_code == 201
