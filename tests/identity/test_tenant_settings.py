"""The settings of a tenant: who changes them, and what they do to keys and sessions."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from shared.ids import to_uuid
from tests.harness.bodies import PASSWORD
from tests.harness.client import document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant

PATH = "/v1/tenant/settings"
REVEAL = "/v1/api-settings/reveal"
ROTATE = "/v1/api-settings/rotate"


async def stored_keys(identity: Identity, tenant: Tenant) -> int:
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM merchants WHERE tenant_id = $1 AND sealed_key IS NOT NULL", to_uuid(tenant.id)
        )
        return found
    finally:
        await connection.close()


async def test_settings_are_read_by_administrators_and_changed_with_the_permission(
    identity: Identity, tenant: Tenant
) -> None:
    clerk, reader = await tenant.create_staff("settings.tenant.write"), await tenant.create_staff("home")
    merchant = await tenant.create_merchant()

    before = await reader.read(PATH)
    changed = document(await clerk.patch(PATH, {"job_review": True, "notices": {"invoice": False}}))

    assert (before["reveal"], before["second_factor"], before["job_review"]) == ("step_up", "optional", False)
    assert (before["session_token_seconds"], before["session_days"]) == (300, 30)
    assert set(before["notices"].values()) == {True}
    assert changed["notices"] == {**before["notices"], "invoice": False}
    assert (changed["job_review"], changed["version"]) == (True, before["version"] + 1)
    assert await reader.read(PATH) == changed
    refused(await reader.patch(PATH, {"job_review": False}), 403, "permission_missing")
    refused(await (await merchant.session()).get(PATH), 403, "credential_not_admitted")
    # One setting in two places is one value, one version and one event.
    own = await tenant.owner.read("/v1/tenant")
    assert (own["job_review"], own["version"]) == (True, changed["version"])
    (event,) = (await identity.events(tenant.id, "tenant.created", "tenant.updated"))[1:]
    assert (event.data.job_review, event.sequence) == (True, changed["version"])
    trail = await tenant.owner.read(f"/v1/audit-events?target={tenant.id}&action=tenant.updated")
    assert trail["data"][0]["after"] == {"job_review": True, "notices": changed["notices"]}
    again = document(await clerk.patch("/v1/tenant", {"job_review": False}))
    assert (await reader.read(PATH))["version"] == again["version"]


async def test_a_patch_of_settings_keeps_what_it_does_not_name(tenant: Tenant) -> None:
    etag = (await tenant.owner.get(PATH)).headers["etag"]
    first = document(await tenant.owner.patch(PATH, {"session_days": 7, "notices": {"key_revealed": False}}))
    second = document(await tenant.owner.patch(PATH, {"notices": {"invoice": False}, "second_factor": "required"}))
    third = document(await tenant.owner.patch(PATH, {"session_days": None, "notices": {"key_revealed": True}}))

    assert (first["session_days"], second["session_days"], third["session_days"]) == (7, 7, 30)
    assert (second["notices"]["key_revealed"], second["notices"]["invoice"]) == (False, False)
    assert (third["notices"]["key_revealed"], third["notices"]["invoice"]) == (True, False)
    assert (third["second_factor"], third["version"]) == ("required", 4)
    assert document(await tenant.owner.patch(PATH, {"second_factor": "required"}))["version"] == 4
    stale = await tenant.owner.patch(PATH, {"reveal": "off"}, headers={"If-Match": etag})
    refused(stale, 412, "precondition_failed")


async def test_lifetimes_are_bounded_by_what_the_operator_allows(tenant: Tenant) -> None:
    too_long = await tenant.owner.patch(PATH, {"session_token_seconds": 301, "session_days": 31})
    wrong = await tenant.owner.patch(
        PATH, {"session_token_seconds": 59, "session_days": 0, "reveal": None, "notices": {"sms": True}, "theme": "x"}
    )

    assert set(pointers(refused(too_long, 422, "invalid"))) == {"/session_token_seconds", "/session_days"}
    expected = {"/session_token_seconds", "/session_days", "/reveal", "/notices/sms", "/theme"}
    assert set(pointers(refused(wrong, 422, "invalid"))) == expected
    assert (await tenant.owner.read(PATH))["version"] == 1


async def test_sessions_and_their_tokens_live_as_long_as_the_tenant_says(identity: Identity, tenant: Tenant) -> None:
    before = await identity.log_in(tenant.id, tenant.owner_email)
    document(await tenant.owner.patch(PATH, {"session_token_seconds": 60, "session_days": 1}))

    after = (await identity.log_in(tenant.id, tenant.owner_email)).document
    token = {"refresh_token": before.document["refresh_token"]}
    renewed = document(await identity.nobody.post("/v1/sessions/refresh", token))

    def left(session: dict[str, Any], until: str) -> timedelta:
        return datetime.fromisoformat(session[until]) - datetime.fromisoformat(before.document["expires_at"])

    minutes = timedelta(minutes=1)
    for session in (after, renewed):
        # The token of before lives for five minutes from about the same instant.
        assert -5 * minutes < left(session, "expires_at") < -3 * minutes
        assert left(session, "refresh_expires_at") < timedelta(days=1)
    assert left(before.document, "refresh_expires_at") > timedelta(days=29)


async def test_a_key_that_may_be_shown_once_is_shown_once(identity: Identity, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    session = await merchant.session()
    revealed = await session.create(REVEAL, {"password": PASSWORD})

    document(await tenant.owner.patch(PATH, {"reveal": "once"}))

    assert await stored_keys(identity, tenant) == 0
    trail = await tenant.owner.read("/v1/audit-events?action=credentials.shredded")
    assert [(one["target"], one["after"]) for one in trail["data"]] == [(tenant.id, {"keys": 2})]
    refused(await session.post(REVEAL, {"password": PASSWORD}), 409, "key_not_stored")
    assert (await session.read("/v1/api-settings"))["revealable"] is False
    # The keys themselves stay valid.
    works = identity.nobody.basic(revealed["api_account_id"], revealed["api_auth_key"])
    assert (await works.get("/v1/auth/test")).status_code == 200
    rotated = await session.create(ROTATE, {"password": PASSWORD})
    assert rotated["api_auth_key"] != revealed["api_auth_key"]
    refused(await session.post(REVEAL, {"password": PASSWORD}), 409, "key_not_stored")
    # A new grant is stored until its key was shown.
    path = f"/v1/merchants/{other.id}/api-access"
    await tenant.owner.delete(path)
    await tenant.owner.create(path)
    granted = await other.session()
    assert (await granted.read("/v1/api-settings"))["revealable"] is True
    answers = await asyncio.gather(*(granted.post(REVEAL, {"password": PASSWORD}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert await stored_keys(identity, tenant) == 0


async def test_where_nothing_is_revealed_a_rotation_shows_the_key(identity: Identity, tenant: Tenant) -> None:
    document(await tenant.owner.patch(PATH, {"reveal": "off"}))
    merchant = await tenant.create_merchant()
    session = await merchant.session()

    refused(await session.post(REVEAL, {"password": PASSWORD}), 403, "reveal_off")
    rotated = await session.create(ROTATE, {"password": PASSWORD, "overlap_seconds": 0})

    works = identity.nobody.basic(rotated["api_account_id"], rotated["api_auth_key"])
    assert (await works.get("/v1/auth/test")).status_code == 200
    assert await stored_keys(identity, tenant) == 0
    # Later keys are kept again; one that was not kept stays unknown.
    document(await tenant.owner.patch(PATH, {"reveal": "step_up"}))
    refused(await session.post(REVEAL, {"password": PASSWORD}), 409, "key_not_stored")
    kept = await session.create(ROTATE, {"password": PASSWORD})
    assert (await session.create(REVEAL, {"password": PASSWORD}))["api_auth_key"] == kept["api_auth_key"]


async def test_no_key_escapes_the_shredding_by_being_issued_meanwhile(identity: Identity, tenant: Tenant) -> None:
    merchants = [await tenant.create_merchant(api_access=False) for _ in range(6)]

    answers = await asyncio.gather(
        *(tenant.owner.post(f"/v1/merchants/{one.id}/api-access") for one in merchants),
        tenant.owner.patch(PATH, {"reveal": "off"}),
    )

    assert {answer.status_code for answer in answers} == {200}
    assert await stored_keys(identity, tenant) == 0
