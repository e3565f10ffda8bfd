"""E-mail changes: confirmed by the new address, told to the old one; and log-ins from new places."""

from identity.logins import rules
from identity.sessions import place_of
from tests.harness.bodies import PASSWORD, email, staff_body
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant
from tests.harness.waiting import eventually

ASK, CONFIRM = "/v1/email-changes", "/v1/email-changes/confirm"


async def told(box: Mailbox, address: str, words: str) -> None:
    """Wait for a mail to an address with these words."""

    async def arrived() -> bool:
        return bool(box.saying(address, words))

    await eventually(arrived, what=f"“{words}” for {address}")


async def confirmed(identity: Identity, box: Mailbox, address: str) -> None:
    await told(box, address, "/email-change#")
    token = box.saying(address, "/email-change#")[-1].token
    assert (await identity.nobody.get(f"{CONFIRM}?token={token}")).status_code == 405
    document(await identity.nobody.post(CONFIRM, {"token": token}))
    refused(await identity.nobody.post(CONFIRM, {"token": token}), 404, "email_change_not_found")


async def test_an_address_of_ones_own_is_changed_once_its_mail_is_answered(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    merchant = await company.create_merchant()
    session, integration = await merchant.session(), await merchant.reveal()
    former, present = merchant.document["login_email"], email("present")

    refused(await session.post(ASK, {"email": present}), 403, "step_up_required")
    asked = document(await session.post(ASK, {"email": present, "password": PASSWORD}), 202)
    await mailing.log_in(company.id, former)
    await told(box, former, "Nothing changes before")
    await confirmed(mailing, box, present)

    assert (asked["email"], asked["pending_email"]) == (former, present)
    refused(await session.get("/v1/auth/test"), 401, "session_revoked")
    old = {"tenant": company.id, "email": former, "password": PASSWORD}
    refused(await mailing.nobody.post("/v1/sessions", old), 401, "credentials_wrong")
    await mailing.log_in(company.id, present)
    assert (await integration.get("/v1/auth/test")).status_code == 200
    for address in (former, present):
        await told(box, address, "From now on, sign in with the new address.")
        changed = box.saying(address, "From now on, sign in with the new address.")[0].text
        assert former in changed
        assert present in changed
    shown = await company.owner.read(f"/v1/merchants/{merchant.id}")
    assert shown["login_email"] == present
    actions = [one["action"] for one in (await company.owner.read(f"/v1/audit-events?target={merchant.id}"))["data"]]
    assert actions[:2] == ["email.changed", "email_change.requested"]


async def test_an_administrator_changes_an_address_no_sooner(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    clerk = staff_body("orders")
    made = await company.owner.create("/v1/staff", clerk)
    merchant = await company.create_merchant()
    right, shop = email("right"), email("shop")

    patched = document(await company.owner.patch(f"/v1/staff/{made['id']}", {"email": right, "first_name": "Sami"}))
    of_merchant = document(await company.owner.patch(f"/v1/merchants/{merchant.id}", {"login_email": shop}))
    await mailing.log_in(company.id, clerk["email"])
    for address in (right, shop):
        await confirmed(mailing, box, address)

    assert (patched["email"], patched["first_name"], patched["pending_email"]) == (clerk["email"], "Sami", right)
    assert of_merchant["pending_email"] == shop
    assert of_merchant["version"] == merchant.document["version"]
    await mailing.log_in(company.id, right)
    await mailing.log_in(company.id, shop)


async def test_an_address_that_was_taken_meanwhile_is_refused(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    merchant = await company.create_merchant()
    wanted = email("wanted")
    document(await company.owner.patch(f"/v1/merchants/{merchant.id}", {"login_email": wanted}))
    await told(box, wanted, "/email-change#")
    await company.owner.create("/v1/staff", {**staff_body("orders"), "email": wanted})

    token = {"token": box.saying(wanted, "/email-change#")[-1].token}
    refused(await mailing.nobody.post(CONFIRM, token), 409, "email_taken")


async def test_without_mail_a_change_takes_place_at_once_and_ones_own_takes_a_step_up(
    identity: Identity, tenant: Tenant
) -> None:
    owner_id, present = tenant.document["owner"]["id"], email("present")
    path = f"/v1/staff/{owner_id}"
    key = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings", "orders", "reports"]})

    refused(await tenant.owner.patch(path, {"email": present}), 403, "step_up_required")
    with_key = identity.nobody.using({"X-Api-Key": key["api_key"]})
    refused(await with_key.patch(path, {"email": present}), 403, "permission_not_held")
    assert document(await tenant.owner.patch(path, {"email": tenant.owner_email, "first_name": "Odette"}))
    patched = document(await (await tenant.owner.stepped_up()).patch(path, {"email": present}))

    assert (patched["email"], patched["pending_email"]) == (present, None)
    person = await identity.log_in(tenant.id, present)
    asked = document(await person.post(ASK, {"email": email("again"), "password": PASSWORD}), 202)
    assert asked["pending_email"] is None


async def test_a_log_in_from_a_new_place_is_told(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    merchant = await company.create_merchant()
    address = merchant.document["login_email"]
    body = {"tenant": company.id, "email": address, "password": PASSWORD}
    words = "New sign-in"

    async def log_in(user_agent: str) -> None:
        headers = {"User-Agent": user_agent}
        document(await mailing.nobody.post("/v1/sessions", body, headers=headers), 201)

    await log_in("curl/8.5")
    await log_in("curl/8.6")
    assert box.saying(address, words) == []
    await log_in("Mozilla/5.0 (Windows NT 10.0) Firefox/131.0")
    await told(box, address, words)
    document(await company.owner.patch("/v1/tenant/settings", {"notices": {"new_sign_in": False}}))
    await log_in("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) Safari/604.1")
    document(await company.owner.patch("/v1/tenant/settings", {"notices": {"new_sign_in": True}}))
    await log_in("Mozilla/5.0 (X11; CrOS x86_64) Chrome/131.0")
    await told(box, address, "Chrome on ChromeOS")

    assert [mail.text.count("Firefox on Windows") for mail in box.saying(address, words)] == [1, 0]


def test_places_are_networks_and_devices_and_few_are_kept() -> None:
    firefox, curl = "Firefox/131.0 (X11; Linux)", "curl/8.5"
    home = place_of("usr_1", "203.0.113.7", firefox)

    assert home == place_of("usr_1", "203.0.113.200", "Firefox/132.0 (X11; Linux)")
    assert place_of("usr_1", "2001:db8:1:2::7", curl) == place_of("usr_1", "2001:db8:1:9::1", curl)
    others = [place_of("usr_2", "203.0.113.7", firefox), place_of("usr_1", "203.0.114.7", firefox)]
    assert home not in [*others, place_of("usr_1", "203.0.113.7", curl), place_of("usr_1", "", firefox)]
    places: list[bytes] = []
    for number in range(30):
        places = rules.add_place(places, bytes([number])) or places
    assert places == [bytes([number]) for number in range(10, 30)]
    assert rules.add_place(places, bytes([29])) is None
