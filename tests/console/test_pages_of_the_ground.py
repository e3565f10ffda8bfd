"""Home, the company, refusals, and the API on the console's own address: what the server answers."""

import httpx
import pytest

from tests.harness.bodies import PASSWORD
from tests.harness.console import ConsoleStack, Visitor, text_of
from tests.harness.people import Tenant
from tests.harness.suite import Suite


@pytest.fixture
async def owner(console: ConsoleStack, tenant: Tenant) -> Visitor:
    return await console.signed_in(tenant.id, tenant.owner_email)


def etag_of(answer: httpx.Response) -> str:
    return answer.text.partition('name="if_match" value="')[2].partition('"')[0].replace("&#34;", '"')


async def test_an_empty_company_sees_its_steps_with_the_calls_that_take_them(owner: Visitor) -> None:
    said = text_of(await owner.get("/"))

    assert "Five steps to your first webhook" in said
    assert "/v1/merchants" in said
    assert "$WAYBILL_TOKEN" in said


async def test_a_change_of_the_company_is_made_once_and_a_stale_one_is_not_made(owner: Visitor, tenant: Tenant) -> None:
    page = await owner.get("/settings/company")
    fields = {"/name": tenant.name, "/timezone": "Europe/Paris", "if_match": etag_of(page)}

    saved = await owner.send("/settings/company", "/settings/company", fields)
    stale = await owner.send("/settings/company", "/settings/company", {**fields, "/timezone": "Asia/Tokyo"})

    assert saved.status_code == 303
    assert stale.status_code == 412
    assert "There now: Europe/Paris" in text_of(stale)
    assert 'value="Asia/Tokyo"' in stale.text, "what was entered is kept"
    assert (await tenant.owner.read("/v1/tenant"))["timezone"] == "Europe/Paris"
    again = {**fields, "/timezone": "Asia/Tokyo", "if_match": etag_of(stale)}
    assert (await owner.send("/settings/company", "/settings/company", again)).status_code == 303


async def test_what_a_service_refuses_is_said_at_its_field(owner: Visitor, tenant: Tenant) -> None:
    page = await owner.get("/settings/company")
    fields = {"/name": tenant.name, "/timezone": "Nowhere/Else", "if_match": etag_of(page)}

    refused = await owner.send("/settings/company", "/settings/company", fields)

    assert refused.status_code == 422
    assert 'href="#field-timezone"' in refused.text
    assert 'id="field-timezone-error"' in refused.text


async def test_an_owner_who_hands_over_gives_the_password_again_and_the_form_goes_on(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    staff = await tenant.owner.create(
        "/v1/staff",
        {
            "email": f"next-{tenant.owner_email}",
            "first_name": "Léa",
            "last_name": "Next",
            "permissions": ["orders"],
            "password": PASSWORD,
        },
    )
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    fields = {"/user_id": staff["id"], "/sure": "true"}

    unsure = await visitor.send("/settings/company", "/settings/company/owner", {"/user_id": staff["id"]})
    asked = await visitor.send("/settings/company", "/settings/company/owner", fields)
    wrong = await visitor.send("/settings/company", "/settings/company/owner", {**fields, "step_up_password": "not it"})
    done = await visitor.send("/settings/company", "/settings/company/owner", {**fields, "step_up_password": PASSWORD})

    assert unsure.status_code == 422
    assert asked.status_code == 403
    assert "Your password again" in text_of(asked)
    assert f'name="/user_id" value="{staff["id"]}"' in asked.text
    assert "The password or the code is wrong." in text_of(wrong)
    assert "not it" not in wrong.text
    assert (done.status_code, done.headers["location"]) == (303, "/")


async def test_staff_without_a_permission_see_neither_the_page_nor_its_place(
    console: ConsoleStack, tenant: Tenant
) -> None:
    address = f"orders-{tenant.owner_email}"
    body = {
        "email": address,
        "first_name": "Léa",
        "last_name": "Staff",
        "permissions": ["orders"],
        "password": PASSWORD,
    }
    await tenant.owner.create("/v1/staff", body)
    visitor = await console.signed_in(tenant.id, address)

    home, company = await visitor.get("/"), await visitor.get("/settings/company")

    assert 'href="/settings/company"' not in home.text
    assert company.status_code == 403
    assert "settings.tenant.write" in text_of(company)


async def test_the_api_is_on_the_same_address_for_who_has_credentials_and_cookies_are_none(
    console: ConsoleStack, owner: Visitor, tenant: Tenant
) -> None:
    by_cookie = await owner.get("/v1/tenant")
    async with httpx.AsyncClient(base_url=console.url, trust_env=False) as client:
        headers = dict(tenant.owner.headers)
        mine = await client.get("/v1/tenant", headers=headers)
        jobs = await client.get("/v1/jobs", headers=headers)

    assert by_cookie.status_code == 401
    assert mine.json()["id"] == tenant.id
    assert mine.headers["etag"]
    assert jobs.json()["object"] == "list"


async def test_a_pasted_id_opens_its_record_and_words_are_looked_for(owner: Visitor) -> None:
    found = await owner.get("/find?q=job_01h455vb4pex5vsknk084sn02q")

    assert found.headers["location"] == "/jobs/job_01h455vb4pex5vsknk084sn02q"
    assert (await owner.get("/find?q=//evil.example")).status_code == 200


async def test_language_and_theme_are_chosen_with_a_button_and_kept_in_the_browser(console: ConsoleStack) -> None:
    visitor = console.visitor()

    async def choose(**chosen: str) -> httpx.Response:
        return await visitor.send("/sign-in", "/appearance", {"back": "/sign-in?next=/settings/company", **chosen})

    answer = await choose(language="fr")
    await choose(theme="dark")
    page = await visitor.get(answer.headers["location"])
    await choose(theme="system")
    elsewhere = await choose(back="https://evil.example/", language="xx")

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/settings/company")
    assert '<html lang="fr" data-theme="dark" class="dark">' in page.text
    assert "Mot de passe" in text_of(page)
    assert elsewhere.headers["location"] == "/"
    assert '<html lang="en" data-theme="system">' in (await visitor.get("/sign-in")).text


async def test_who_is_signed_in_chooses_a_language_and_stays_on_the_page(owner: Visitor) -> None:
    page = await owner.get("/find?q=webhooks")
    answer = await owner.send("/settings/company", "/appearance", {"back": "/settings/company", "language": "fr"})
    stranger = await owner.client.post("/appearance", data={"language": "en"})

    assert 'name="back" value="/find?q=webhooks"' in page.text
    assert answer.headers["location"] == "/settings/company"
    assert "Entreprise" in text_of(await owner.get("/settings/company"))
    assert stranger.status_code == 403
