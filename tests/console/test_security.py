"""One's own password and second factor, by people whose browsers run no script."""

import re

import httpx
import pyotp
import pytest

from tests.harness.bodies import PASSWORD
from tests.harness.console import ConsoleStack, Visitor, text_of
from tests.harness.suite import Suite

PAGE = "/settings/security"
KEY = re.compile(r'class="secret">.*?<code>([A-Z2-7 ]+)</code>', re.DOTALL)
RECOVERY_CODE = re.compile(r"<code>((?:[a-z2-7]{4}-){3}[a-z2-7]{4})</code>")


async def post(visitor: Visitor, action: str, **fields: str) -> httpx.Response:
    return await visitor.send(PAGE, f"{PAGE}{action}", fields)


async def set_up(visitor: Visitor) -> list[str]:
    """A second factor; its recovery codes."""
    begun = await post(visitor, "/second-factor", step_up_password=PASSWORD)
    key = KEY.search(begun.text)
    assert key is not None, begun.text
    sealed = begun.text.partition('name="sealed" value="')[2].partition('"')[0]
    wrong = await post(visitor, "/second-factor/confirm", sealed=sealed, **{"/code": "000000"})
    code = pyotp.TOTP(key[1].replace(" ", "")).now()
    done = await post(visitor, "/second-factor/confirm", sealed=sealed, **{"/code": code})

    assert "This code is wrong" in text_of(wrong)
    assert key[1] in wrong.text, "the key is there for another code"
    assert '<img src="data:image/svg+xml' in wrong.text
    assert done.status_code == 200, done.text
    return RECOVERY_CODE.findall(done.text)


@pytest.fixture(scope="module")
async def people(console: ConsoleStack, suite: Suite) -> tuple[Visitor, Visitor]:
    """An owner and a merchant of one company."""
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    return owner, await console.signed_in(tenant.id, merchant.document["login_email"])


async def test_a_second_factor_is_set_up_asked_for_and_turned_off(people: tuple[Visitor, Visitor]) -> None:
    owner, _ = people
    asked = await post(owner, "/second-factor")
    codes = await set_up(owner)
    page = await owner.get(PAGE)
    again = await post(owner, "/recovery-codes", step_up_password=PASSWORD, step_up_code=codes[0])
    renewed = RECOVERY_CODE.findall(again.text)
    old = await post(owner, "/second-factor/remove", step_up_password=PASSWORD, step_up_code=codes[1])
    off = await post(owner, "/second-factor/remove", step_up_password=PASSWORD, step_up_code=renewed[0])

    assert "Your password again" in text_of(asked)
    assert (len(codes), len(renewed)) == (10, 10)
    assert "10 recovery codes are left" in text_of(page)
    assert not any(code in page.text for code in codes), "they are shown once"
    assert "The password or the code is wrong." in text_of(old)
    assert (off.status_code, off.headers["location"]) == (303, PAGE)
    assert "The second factor is off." in text_of(await owner.get(PAGE))


async def test_a_merchant_with_a_second_factor_gives_its_code_to_see_and_replace_its_key(
    people: tuple[Visitor, Visitor],
) -> None:
    _, merchant = people
    page = "/api-settings"
    before = await merchant.get(page)
    codes = await set_up(merchant)
    asked = await merchant.get(page)

    async def send(action: str, **fields: str) -> httpx.Response:
        return await merchant.send(page, f"{page}/{action}", {"/password": PASSWORD, **fields})

    without = await send("reveal")
    wrong = await send("reveal", **{"/code": "000000"})
    shown = await send("reveal", **{"/code": codes[0]})
    replaced = await send("rotate", **{"/code": codes[1], "/overlap_seconds": "3600"})

    assert 'name="/code"' not in before.text
    assert asked.text.count('name="/code"') == 2
    assert "Enter the code of your authenticator app, too." in text_of(without)
    assert "The password or the code is wrong." in text_of(wrong)
    for answer in (shown, replaced):
        assert answer.status_code == 200
        assert "Your API Auth Key" in text_of(answer)


async def test_a_new_password_ends_other_sessions_and_this_one_goes_on(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    here, elsewhere = [await console.signed_in(tenant.id, tenant.owner_email) for _ in range(2)]
    new = "a whole new password"

    wrong = await post(here, "/password", **{"/current_password": "not it", "/new_password": new})
    short = await post(here, "/password", **{"/current_password": PASSWORD, "/new_password": "short"})
    done = await post(here, "/password", **{"/current_password": PASSWORD, "/new_password": new})

    assert 'id="field-current_password-error"' in wrong.text
    assert 'id="field-new_password-error"' in short.text
    assert "not it" not in wrong.text
    assert (done.status_code, done.headers["location"]) == (303, PAGE)
    assert "Your password is changed." in text_of(await here.get(PAGE))
    assert (await elsewhere.get(PAGE)).headers["location"].startswith("/sign-in")
    assert (await console.visitor().sign_in(tenant.id, tenant.owner_email, new)).status_code == 303


async def test_where_a_second_factor_is_required_everything_else_waits_for_it(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    await tenant.owner.patch("/v1/tenant/settings", {"second_factor": "required"})
    owner = await console.signed_in(tenant.id, tenant.owner_email)

    led = await owner.get("/")
    page = await owner.get(PAGE)
    await set_up(owner)

    assert (led.status_code, led.headers["location"]) == (303, PAGE)
    assert "Your company requires a second factor" in text_of(page)
    assert (await owner.get("/")).status_code == 200
    assert 'href="/settings/company"' in (await owner.get(PAGE)).text
