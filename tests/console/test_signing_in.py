"""Signing in and out, by people whose browsers run no script: what the server decides."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pyotp
import pytest

from tests.harness.bodies import PASSWORD, email
from tests.harness.console import ConsoleStack, text_of
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant
from tests.harness.suite import Suite

WRONG = "The company, the e-mail address or the password is wrong."


async def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_where_it_was_going(
    console: ConsoleStack, tenant: Tenant
) -> None:
    visitor = console.visitor()

    asked = await visitor.get("/settings/sessions")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/settings/sessions")
    page = await visitor.get(asked.headers["location"])
    assert 'name="next" value="/settings/sessions"' in page.text
    signed_in = await visitor.sign_in(tenant.name, tenant.owner_email, next="/settings/sessions")

    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/settings/sessions")
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "This one" in text_of(await visitor.get("/settings/sessions"))


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(console: ConsoleStack, tenant: Tenant, place: str) -> None:
    answer = await console.visitor().sign_in(tenant.id, tenant.owner_email, next=place)

    assert answer.headers["location"] == "/"


async def test_an_unknown_person_gets_the_same_answer_as_a_wrong_password(
    console: ConsoleStack, tenant: Tenant
) -> None:
    visitor = console.visitor()
    answers = [
        await visitor.sign_in(tenant.id, tenant.owner_email, "wrong"),
        await visitor.sign_in(tenant.id, email(), "wrong"),
        await visitor.sign_in("Nobody & Sons", email(), "wrong"),
    ]

    assert [answer.status_code for answer in answers] == [401] * 3
    assert all(WRONG in text_of(answer) for answer in answers)
    assert not any('wrong"' in answer.text for answer in answers), "a password is never shown again"


async def test_too_many_wrong_passwords_have_to_wait_and_are_told_how_long(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    visitor = console.visitor()

    answers = await asyncio.gather(*(visitor.sign_in(tenant.id, tenant.owner_email, "wrong") for _ in range(30)))

    assert {answer.status_code for answer in answers} == {401, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "data-countdown=" in refused.text


async def test_a_second_factor_is_asked_for_by_itself(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    stepped = await tenant.owner.create("/v1/auth/step-up", {"password": PASSWORD})
    owner = tenant.owner.using({"Authorization": f"Bearer {stepped['token']}"})
    secret = (await owner.create("/v1/auth/second-factor"))["secret"]
    codes = await owner.create("/v1/auth/second-factor/confirm", {"code": pyotp.TOTP(secret).now()})
    visitor = console.visitor()

    asked = await visitor.sign_in(tenant.id, tenant.owner_email)
    sealed = asked.text.partition('name="sealed" value="')[2].partition('"')[0]
    wrong = await visitor.client.post("/sign-in", data={"sealed": sealed, "/code": "000000"})
    right = await visitor.client.post("/sign-in", data={"sealed": sealed, "/code": codes["recovery_codes"][0]})

    assert "Enter your code" in text_of(asked)
    assert PASSWORD not in asked.text
    assert "This code is wrong" in text_of(wrong)
    assert right.status_code == 303
    invented = await console.visitor().client.post("/sign-in", data={"sealed": "00" * 40, "/code": "1"})
    assert invented.headers["location"] == "/sign-in"


async def test_a_forgotten_password_is_chosen_anew_with_the_link_of_a_mail(
    console: ConsoleStack, suite: Suite, box: Mailbox
) -> None:
    tenant = await suite.create_tenant()
    visitor, before = console.visitor(), await console.signed_in(tenant.id, tenant.owner_email)
    known = await visitor.client.post("/forgotten-password", data={"/tenant": tenant.id, "/email": tenant.owner_email})
    unknown = await visitor.client.post("/forgotten-password", data={"/tenant": tenant.id, "/email": email()})
    token = (await box.wait_for(tenant.owner_email))[-1].token

    page = await visitor.get("/password-reset")
    short = await visitor.client.post("/password-reset", data={"/token": token, "/password": "short"})
    done = await visitor.client.post("/password-reset", data={"/token": token, "/password": "a whole new password"})
    again = await visitor.client.post("/password-reset", data={"/token": token, "/password": "a whole new password"})

    assert text_of(known) == text_of(unknown)
    assert page.status_code == 200
    assert short.status_code == 422
    assert 'aria-invalid="true"' in short.text
    assert done.headers["location"] == f"/sign-in?tenant={tenant.id}"
    assert "not valid any more" in text_of(again)
    assert (await visitor.sign_in(tenant.id, tenant.owner_email, "a whole new password")).status_code == 303
    # The session of before has ended; the page of before says so as soon as its token is looked at.
    assert (await before.get("/settings/sessions")).headers["location"].startswith("/sign-in")


async def test_an_invitation_becomes_an_account(console: ConsoleStack, tenant: Tenant, box: Mailbox) -> None:
    address = email("staff")
    body = {"email": address, "first_name": "Léa", "last_name": "Staff", "permissions": ["orders"]}
    await tenant.owner.create("/v1/staff", body)
    token = (await box.wait_for(address))[-1].token
    visitor = console.visitor()

    accepted = await visitor.client.post("/invitation", data={"/token": token, "/password": PASSWORD})
    again = await visitor.client.post("/invitation", data={"/token": token, "/password": PASSWORD})

    assert accepted.status_code == 303
    assert "not valid any more" in text_of(again)
    assert (await visitor.sign_in(tenant.id, address)).status_code == 303


async def test_signing_out_ends_one_session_and_everywhere_means_everywhere(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    first, second, third = [await console.signed_in(tenant.id, tenant.owner_email) for _ in range(3)]

    out = await first.send("/", "/sign-out", {})
    assert out.headers["location"] == "/sign-in"
    assert "You have signed out." in text_of(await first.get("/sign-in"))
    assert (await first.get("/")).status_code == 303
    assert (await second.get("/")).status_code == 200
    await second.send("/settings/sessions", "/sign-out-everywhere", {})

    assert (await second.get("/")).status_code == 303
    assert (await third.get("/settings/sessions")).headers["location"].startswith("/sign-in")


async def test_two_hundred_tabs_that_come_at_once_renew_once_and_stay_signed_in(
    console: ConsoleStack, tenant: Tenant
) -> None:
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    connection = await asyncpg.connect(console.database)

    for _ in range(10):
        await connection.execute("UPDATE browser_sessions SET token_expires_at = now()")
        answers = await asyncio.gather(*(visitor.get("/settings/sessions") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
    left = await connection.fetchval("SELECT count(*) FROM refreshes")
    await connection.close()

    assert left == 0


async def test_a_renewal_whose_outcome_nobody_knows_is_never_made_again(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    other = await console.signed_in(tenant.id, tenant.owner_email)
    connection = await asyncpg.connect(console.database)
    # As a process leaves it that dies after it has asked, and before it has stored the answer.
    await connection.execute(
        "INSERT INTO refreshes (digest, started_at) SELECT digest, now() FROM browser_sessions ORDER BY created_at DESC LIMIT 2"
    )
    await connection.execute("UPDATE browser_sessions SET token_expires_at = $1", datetime.now(UTC) - timedelta(days=1))

    asked = await visitor.get("/")
    await connection.close()

    assert asked.headers["location"] == "/sign-in"
    assert (await other.get("/")).status_code == 303
    # Identity has not seen a refresh token twice: the sessions of the API go on.
    sessions = await tenant.owner.read("/v1/sessions")
    assert len(sessions["data"]) >= 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 401),
    ],
)
async def test_a_form_from_elsewhere_is_refused(console: ConsoleStack, headers: dict[str, str], status: int) -> None:
    answer = await console.visitor(**headers).sign_in("a", "b@example.com", "c")

    assert answer.status_code == status


async def test_a_form_without_the_token_of_its_session_is_refused(console: ConsoleStack, tenant: Tenant) -> None:
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    other = await console.signed_in(tenant.id, tenant.owner_email)
    foreign = (await other.get("/")).text.partition('name="form_token" value="')[2].partition('"')[0]

    for token in ("", foreign):
        answer = await visitor.client.post("/sign-out", data={"form_token": token})
        assert answer.status_code == 403
    assert (await visitor.get("/")).status_code == 200


async def test_neither_cookies_nor_tokens_nor_passwords_stand_in_the_log_or_the_database(
    console: ConsoleStack, tenant: Tenant
) -> None:
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    page = await visitor.get("/settings/sessions")
    connection = await asyncpg.connect(console.database)
    rows = str(await connection.fetch("SELECT * FROM browser_sessions"))
    await connection.close()

    for secret in (visitor.cookie, PASSWORD, "wbr_", "eyJ"):
        assert secret not in console.log
        assert secret not in rows
        assert secret not in page.text


async def test_every_page_tells_browsers_what_they_may_not_do(console: ConsoleStack) -> None:
    for path in ("/sign-in", "/nowhere"):
        headers = (await console.visitor().get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
