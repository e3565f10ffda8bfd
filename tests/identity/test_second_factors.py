"""Second factors: enrolling, logging in and stepping up with codes, recovery, and tenants that ask for them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp

from identity.app import create_app
from identity.totp import rules
from tests.harness.bodies import PASSWORD, staff_body
from tests.harness.client import Api, document, refused
from tests.harness.identity import Identity
from tests.harness.people import Merchant, Tenant
from tests.harness.services import serve

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def code_of(secret: str) -> str:
    """What the authenticator app shows now."""
    return pyotp.TOTP(secret).now()


def next_code_of(secret: str) -> str:
    """What the app shows next, which a clock that is ahead shows already: the present code was used to enrol."""
    return pyotp.TOTP(secret).at(int(time.time()), counter_offset=1)


async def enrol(person: Api) -> tuple[str, list[str]]:
    """Enrol a second factor; its secret and the recovery codes."""
    stepped = await person.stepped_up()
    secret = (await stepped.create("/v1/auth/second-factor"))["secret"]
    confirmed = await stepped.create("/v1/auth/second-factor/confirm", {"code": code_of(secret)})
    return secret, confirmed["recovery_codes"]


def log_in_of(merchant: Merchant) -> dict[str, Any]:
    return {"tenant": merchant.tenant.id, "email": merchant.document["login_email"], "password": PASSWORD}


def test_a_code_fits_once_and_a_clock_may_be_off_by_one_step() -> None:
    secret = rules.new_secret()
    app = pyotp.TOTP(secret)

    def step_of(at: datetime, last_step: int | None = None) -> int | None:
        return rules.matching_step(secret, app.at(at), NOW, last_step=last_step)

    present = step_of(NOW)
    assert present is not None
    assert step_of(NOW - timedelta(seconds=30)) == present - 1
    assert step_of(NOW + timedelta(seconds=30)) == present + 1
    assert step_of(NOW - timedelta(seconds=60)) is None
    assert step_of(NOW, last_step=present) is None
    assert step_of(NOW - timedelta(seconds=30), last_step=present) is None
    assert rules.matching_step(secret, "４９２０３９", NOW, last_step=None) is None


def test_recovery_codes_are_read_however_they_are_typed() -> None:
    code, *others = rules.new_recovery_codes()

    assert len({code, *others}) == 10
    assert rules.digest_recovery_code(f" {code.upper().replace('-', ' ')}") == rules.digest_recovery_code(code)


async def test_logging_in_asks_for_a_code_of_those_who_have_a_second_factor(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    refused(await session.post("/v1/auth/second-factor"), 403, "step_up_required")
    secret, _ = await enrol(session)
    body = log_in_of(merchant)

    refused(await identity.nobody.post("/v1/sessions", {**body, "password": "wrong"}), 401, "credentials_wrong")
    refused(await identity.nobody.post("/v1/sessions", body), 401, "second_factor_required")
    refused(await identity.nobody.post("/v1/sessions", {**body, "code": "000000"}), 401, "second_factor_wrong")
    with_code = {**body, "code": next_code_of(secret)}
    document(await identity.nobody.post("/v1/sessions", with_code), 201)
    refused(await identity.nobody.post("/v1/sessions", with_code), 401, "second_factor_wrong")

    shown = await session.read("/v1/auth/second-factor")
    assert (shown["enrolled"], shown["recovery_codes_left"], shown["required"]) == (True, 10, False)
    (event,) = (await tenant.owner.read("/v1/audit-events?action=second_factor.enrolled"))["data"]
    assert event["target"] == merchant.id
    codes = [
        one["after"]["code"] for one in (await tenant.owner.read("/v1/audit-events?action=session.refused"))["data"]
    ]
    assert codes == ["second_factor_wrong", "second_factor_wrong", "credentials_wrong"]


async def test_a_step_up_asks_for_a_code_too(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    secret, recovery_codes = await enrol(session)
    reveal, step_up = "/v1/api-settings/reveal", "/v1/auth/step-up"

    for path in (reveal, step_up):
        refused(await session.post(path, {"password": PASSWORD}), 403, "step_up_code_required")
        refused(await session.post(path, {"password": PASSWORD, "code": "1"}), 403, "reauthentication_failed")
    once = {"password": PASSWORD, "code": next_code_of(secret)}
    revealed = document(await session.post(reveal, once))
    refused(await session.post(step_up, once), 403, "reauthentication_failed")
    stepped = document(await session.post(step_up, {"password": PASSWORD, "code": recovery_codes[0]}))

    person = identity.nobody.using({"Authorization": f"Bearer {stepped['token']}"})
    assert document(await person.post(reveal, {})) == revealed
    assert (await person.read("/v1/auth/second-factor"))["recovery_codes_left"] == 9


async def test_a_recovery_code_counts_once_and_new_ones_replace_all(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    _, codes = await enrol(session)
    body = log_in_of(merchant)

    document(await identity.nobody.post("/v1/sessions", {**body, "code": codes[0].upper()}), 201)
    refused(await identity.nobody.post("/v1/sessions", {**body, "code": codes[0]}), 401, "second_factor_wrong")
    stepped = document(await session.post("/v1/auth/step-up", {"password": PASSWORD, "code": codes[1]}))
    person = identity.nobody.using({"Authorization": f"Bearer {stepped['token']}"})
    newer = (await person.create("/v1/auth/second-factor/recovery-codes"))["recovery_codes"]

    refused(await identity.nobody.post("/v1/sessions", {**body, "code": codes[2]}), 401, "second_factor_wrong")
    document(await identity.nobody.post("/v1/sessions", {**body, "code": newer[0]}), 201)
    assert (await person.delete("/v1/auth/second-factor")).status_code == 204
    assert (await person.delete("/v1/auth/second-factor")).status_code == 204
    document(await identity.nobody.post("/v1/sessions", body), 201)


async def test_enrolling_takes_a_code_of_the_app_that_has_the_secret(identity: Identity, tenant: Tenant) -> None:
    session = await (await tenant.create_merchant()).session()
    confirm, begin = "/v1/auth/second-factor/confirm", "/v1/auth/second-factor"
    refused(await session.post(confirm, {"code": "123456"}), 409, "second_factor_missing")
    stepped = await session.stepped_up()
    first = document(await stepped.post(begin))
    second = document(await stepped.post(begin))

    assert second["uri"].startswith("otpauth://totp/")
    assert pyotp.parse_uri(second["uri"]).secret == second["secret"]
    refused(await stepped.post(confirm, {"code": code_of(first["secret"])}), 403, "reauthentication_failed")
    document(await stepped.post(confirm, {"code": code_of(second["secret"])}))
    refused(await stepped.post(begin), 409, "second_factor_enrolled")


async def test_wrong_codes_are_limited_for_those_who_know_the_password(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    _, codes = await enrol(session)
    body = log_in_of(merchant)

    async with serve(Identity, create_app, identity.settings) as service:
        guesses = [await service.nobody.post("/v1/sessions", {**body, "code": f"{n:06}"}) for n in range(12)]

    assert [answer.status_code for answer in guesses[:10]] == [401] * 10
    refused(guesses[-1], 429, "too_many_attempts")
    document(await identity.nobody.post("/v1/sessions", {**body, "code": codes[0]}), 201)


async def test_who_lacks_a_second_factor_that_the_tenant_asks_for_can_only_enrol(
    identity: Identity, tenant: Tenant
) -> None:
    clerk = staff_body("orders", "settings.locations.read")
    await tenant.owner.create("/v1/staff", clerk)
    merchant = await tenant.create_merchant()
    settings = {"second_factor": "required"}
    document(await tenant.owner.patch("/v1/tenant/settings", settings))

    person = await identity.log_in(tenant.id, clerk["email"])
    refused(await person.get("/v1/locations"), 403, "second_factor_enrolment_required")
    refused(await person.post("/v1/password", {}), 403, "second_factor_enrolment_required")
    assert (await person.read("/v1/auth/second-factor"))["required"] is True
    assert (await person.get("/v1/auth/test")).status_code == 200
    await enrol(person)
    refused(await person.get("/v1/locations"), 403, "second_factor_enrolment_required")
    renewed = {"refresh_token": person.document["refresh_token"]}
    made = document(await identity.nobody.post("/v1/sessions/refresh", renewed))
    person = identity.nobody.using({"Authorization": f"Bearer {made['token']}"})

    assert (await person.get("/v1/locations")).status_code == 200
    assert (await (await merchant.session()).get("/v1/api-settings")).status_code == 200
    # A session of before is asked at its next renewal, within the life of a token.
    owner = {"refresh_token": tenant.owner.document["refresh_token"]}
    made = document(await identity.nobody.post("/v1/sessions/refresh", owner))
    person = identity.nobody.using({"Authorization": f"Bearer {made['token']}"})
    refused(await person.get("/v1/locations"), 403, "second_factor_enrolment_required")


async def test_an_administrator_resets_the_second_factor_of_who_has_lost_it(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.staff.write")
    peer, boss = await tenant.create_staff("settings.staff.write"), await tenant.create_staff("settings")
    merchant = await tenant.create_merchant()
    shop = await merchant.session()
    for person in (peer, boss, tenant.owner, shop):
        await enrol(person)

    def path(person: Api) -> str:
        return f"/v1/staff/{person.subject_id}/second-factor"

    refused(await clerk.delete(path(boss)), 403, "permission_not_held")
    refused(await clerk.delete(path(clerk)), 403, "own_account")
    refused(await clerk.delete(path(tenant.owner)), 409, "owner_protected")
    refused(await clerk.delete(f"/v1/merchants/{merchant.id}/second-factor"), 403, "permission_missing")
    for _ in range(2):
        assert (await clerk.delete(path(peer))).status_code == 204
        assert (await boss.delete(f"/v1/merchants/{merchant.id}/second-factor")).status_code == 204

    for person in (peer, shop):
        refused(await person.get("/v1/auth/test"), 401, "session_revoked")
    await merchant.session()
    assert (await identity.platform.in_tenant(tenant.id).delete(path(tenant.owner))).status_code == 204
    await identity.log_in(tenant.id, tenant.owner_email)
    reset = (await boss.read("/v1/audit-events?action=second_factor.reset"))["data"]
    assert {one["target"] for one in reset} == {peer.subject_id, merchant.id, tenant.owner.subject_id}
