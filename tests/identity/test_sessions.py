"""Open sessions: where they are, ending one or all, and stepping one up."""

from tests.harness.bodies import PASSWORD
from tests.harness.client import Api, document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1"


async def log_in(identity: Identity, tenant: Tenant, user_agent: str) -> Api:
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    made = document(await identity.nobody.post("/v1/sessions", body, headers={"User-Agent": user_agent}), 201)
    return identity.nobody.using({"Authorization": f"Bearer {made['token']}"}, made)


async def renewed(identity: Identity, person: Api) -> Api:
    made = document(
        await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": person.document["refresh_token"]})
    )
    return identity.nobody.using({"Authorization": f"Bearer {made['token']}"}, made)


async def test_people_see_where_they_are_logged_in(identity: Identity, tenant: Tenant) -> None:
    desk, phone = await log_in(identity, tenant, FIREFOX), await log_in(identity, tenant, PHONE)
    merchant = await tenant.create_merchant()
    shop = await merchant.session()

    listed = (await desk.read("/v1/sessions"))["data"]

    assert [one["id"] for one in listed] == [one.document["id"] for one in (phone, desk, tenant.owner)]
    assert [one["current"] for one in listed] == [False, True, False]
    assert [one["device"] for one in listed[:2]] == ["Safari on iPhone", "Firefox on Linux"]
    assert listed[1]["address"] == "127.0.0.1"
    assert listed[1]["created_at"] == listed[1]["last_seen_at"]
    assert [one["id"] for one in (await shop.read("/v1/sessions"))["data"]] == [shop.document["id"]]
    seen = (await (await renewed(identity, desk)).read("/v1/sessions"))["data"][1]
    assert seen["last_seen_at"] > listed[1]["last_seen_at"]
    key = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["orders"]})
    refused(
        await identity.nobody.using({"X-Api-Key": key["api_key"]}).get("/v1/sessions"), 403, "credential_not_admitted"
    )


async def test_a_session_is_ended_from_another(identity: Identity, tenant: Tenant) -> None:
    desk, phone = await log_in(identity, tenant, FIREFOX), await log_in(identity, tenant, PHONE)
    stranger = await (await tenant.create_merchant()).session()
    path = f"/v1/sessions/{phone.document['id']}"

    refused(await stranger.delete(path), 404, "session_not_found")
    assert (await desk.delete(path)).status_code == 204

    refused(await phone.get("/v1/auth/test"), 401, "session_revoked")
    lost = {"refresh_token": phone.document["refresh_token"]}
    refused(await identity.nobody.post("/v1/sessions/refresh", lost), 401, "refresh_token_wrong")
    desk = await renewed(identity, desk)
    assert (await desk.delete(path)).status_code == 204
    assert (await desk.get("/v1/auth/test")).status_code == 200
    await identity.audited(phone.document["id"], "session.created", "session.revoked")


async def test_logging_out_everywhere_ends_every_session(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    integration = await merchant.reveal()
    here, there = await merchant.session(), await merchant.session()

    assert (await here.delete("/v1/sessions")).status_code == 204

    for person in (here, there):
        refused(await person.get("/v1/auth/test"), 401, "session_revoked")
        token = {"refresh_token": person.document["refresh_token"]}
        refused(await identity.nobody.post("/v1/sessions/refresh", token), 401, "refresh_token_wrong")
    assert (await integration.get("/v1/auth/test")).status_code == 200
    assert (await (await merchant.session()).get("/v1/auth/test")).status_code == 200


async def test_a_password_that_is_given_again_counts_in_this_session_alone(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    person, other = await merchant.session(), await merchant.session()
    reveal = "/v1/api-settings/reveal"

    refused(await person.post(reveal, {}), 403, "step_up_required")
    refused(await person.post("/v1/auth/step-up", {"password": "wrong"}), 403, "reauthentication_failed")
    stepped = await person.stepped_up()

    revealed = document(await stepped.post(reveal, {}))
    rotated = document(await stepped.post("/v1/api-settings/rotate", {"overlap_seconds": 0}))
    assert rotated["api_auth_key"] != revealed["api_auth_key"]
    refused(await other.post(reveal, {}), 403, "step_up_required")
    # The token of before does not say so; those of a renewal do.
    refused(await person.post(reveal, {}), 403, "step_up_required")
    assert document(await (await renewed(identity, person)).post(reveal, {}))["api_auth_key"] == rotated["api_auth_key"]
    await identity.audited(person.document["id"], "session.created", "session.stepped_up")
    (wrong,) = (await tenant.owner.read("/v1/audit-events?action=reauthentication.refused"))["data"]
    assert (wrong["actor"], wrong["target"]) == (merchant.id, merchant.id)


async def test_a_path_that_is_spelt_out_is_no_id(identity: Identity, tenant: Tenant) -> None:
    for caller in (identity.nobody, tenant.owner):
        for path in ("/v1/sessions/refresh", "/v1/invitations/accept"):
            answer = await caller.delete(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await tenant.owner.delete("/v1/sessions/current")).status_code == 204


async def test_a_session_that_has_ended_cannot_be_stepped_up(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("orders")
    await tenant.owner.create(f"/v1/staff/{clerk.subject_id}/disable")

    refused(await clerk.post("/v1/auth/step-up", {"password": PASSWORD}), 401, "session_revoked")
