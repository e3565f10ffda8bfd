"""The ownership of a tenant: handed over by the owner alone, to one person, with one event."""

import asyncio
from typing import Any

import asyncpg
import pytest

from shared.access.permissions import ALL_SECTIONS
from shared.ids import to_uuid
from tests.harness.bodies import PASSWORD, email, staff_body
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant

PATH = "/v1/tenant/transfer-ownership"


async def test_the_owner_hands_over_and_is_staff_with_all_permissions(identity: Identity, tenant: Tenant) -> None:
    heir = await tenant.create_staff("reports")
    former_id = tenant.owner.subject_id

    done = document(await tenant.owner.post(PATH, {"user_id": heir.subject_id, "password": PASSWORD}))

    assert (done["owner"]["id"], done["owner"]["kind"], done["owner"]["permissions"]) == (heir.subject_id, "owner", [])
    assert (done["former_owner"]["id"], done["former_owner"]["kind"]) == (former_id, "staff")
    assert done["former_owner"]["permissions"] == sorted(ALL_SECTIONS)
    held = await heir.read("/v1/permissions")
    assert (held["is_owner"], held["permissions"]["settings"]) == (True, True)
    assert (await heir.read("/v1/tenant"))["owner_id"] == heir.subject_id
    refused(await tenant.owner.get("/v1/tenant"), 401, "session_revoked")
    former = await identity.log_in(tenant.id, tenant.owner_email)
    left = await former.read("/v1/permissions")
    assert (left["is_owner"], left["scopes"]) == (False, held["scopes"])
    refused(await former.post(PATH, {"user_id": former_id, "password": PASSWORD}), 403, "owner_required")
    # One event, with the states and versions of all three.
    (event,) = (await identity.events(tenant.id, "tenant.created", "tenant.ownership_transferred"))[1:]
    assert (event.data.tenant.owner_id, event.data.owner.kind) == (heir.subject_id, "owner")
    assert (event.data.former_owner.user_id, event.data.former_owner.kind) == (former_id, "staff")
    assert (event.data.owner_version, event.data.former_owner_version) == (2, 2)
    await identity.events(heir.subject_id, "user.created")
    trail = await heir.read("/v1/audit-events?action=tenant.ownership_transferred")
    (entry,) = trail["data"]
    assert (entry["actor"], entry["before"], entry["after"]) == (
        former_id,
        {"owner_id": former_id},
        {"owner_id": heir.subject_id},
    )


async def test_the_former_owner_can_be_reduced_and_disabled(identity: Identity, tenant: Tenant) -> None:
    heir = await tenant.create_staff()
    former_id = tenant.owner.subject_id
    refused(await heir.post(f"/v1/staff/{former_id}/disable"), 403, "permission_missing")
    document(await tenant.owner.post(PATH, {"user_id": heir.subject_id, "password": PASSWORD}))

    disabled = document(await heir.post(f"/v1/staff/{former_id}/disable"))

    assert disabled["status"] == "disabled"
    login = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", login), 401, "credentials_wrong")
    refused(await heir.post(f"/v1/staff/{heir.subject_id}/disable"), 409, "owner_protected")


async def test_only_the_owner_in_a_session_with_the_password_can_hand_over(identity: Identity, tenant: Tenant) -> None:
    heir = await tenant.create_staff(*ALL_SECTIONS)
    asked = {"user_id": heir.subject_id, "password": PASSWORD}
    scopes = (await tenant.owner.read("/v1/permissions"))["scopes"]
    key = (await tenant.owner.create("/v1/api-keys", {"name": "all", "scopes": scopes}))["api_key"]
    merchant = await tenant.create_merchant()

    refused(await tenant.owner.post(PATH, {**asked, "password": "guess"}), 403, "reauthentication_failed")
    refused(await heir.post(PATH, asked), 403, "owner_required")
    for other in (
        identity.nobody.using({"X-Api-Key": key}),
        identity.platform.in_tenant(tenant.id),
        await merchant.session(),
        await merchant.reveal(),
    ):
        refused(await other.post(PATH, asked), 403, "credential_not_admitted")
    assert (await tenant.owner.read("/v1/permissions"))["is_owner"] is True


async def test_the_new_owner_is_an_active_member_of_staff(identity: Identity, tenant: Tenant) -> None:
    invited = await tenant.owner.create("/v1/staff", {**staff_body(), "email": email(), "password": None})
    stranger = await (await identity.create_tenant()).create_staff()
    left = await tenant.create_staff()
    await tenant.owner.create(f"/v1/staff/{left.subject_id}/disable")

    async def asked(user_id: str) -> Any:
        return await tenant.owner.post(PATH, {"user_id": user_id, "password": PASSWORD})

    assert refused(await asked(invited["id"]), 409, "user_not_active")["current_status"] == "invited"
    assert refused(await asked(left.subject_id), 409, "user_not_active")["current_status"] == "disabled"
    refused(await asked(stranger.subject_id), 404, "user_not_found")
    refused(await asked(tenant.owner.subject_id), 403, "own_account")
    assert (await tenant.owner.read("/v1/permissions"))["is_owner"] is True


async def test_of_transfers_at_once_one_is_done(identity: Identity, tenant: Tenant) -> None:
    heirs = [await tenant.create_staff() for _ in range(4)]

    answers = await asyncio.gather(
        *(tenant.owner.post(PATH, {"user_id": heir.subject_id, "password": PASSWORD}) for heir in heirs)
    )

    done = [answer for answer in answers if answer.status_code == 200]
    assert len(done) == 1, [answer.text for answer in answers]
    # The session of the former owner ended with the transfer; who was admitted before finds another owner.
    assert {answer.json()["code"] for answer in answers if answer not in done} <= {"owner_required", "session_revoked"}
    owner_id = done[0].json()["owner"]["id"]
    owners = [heir.subject_id for heir in heirs if (await heir.read("/v1/permissions"))["is_owner"]]
    assert owners == [owner_id]


async def test_the_database_itself_refuses_two_owners_and_none(identity: Identity, tenant: Tenant) -> None:
    heir = await tenant.create_staff()
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        second = "UPDATE users SET kind = 'owner', permissions = '{}' WHERE user_id = $1"
        with pytest.raises(asyncpg.UniqueViolationError, match="ix_users_owner"):
            await connection.execute(second, to_uuid(heir.subject_id))
        with pytest.raises(asyncpg.ForeignKeyViolationError, match="fk_tenants_owner"):
            await connection.execute("UPDATE users SET kind = 'staff' WHERE tenant_id = $1", to_uuid(tenant.id))
        with pytest.raises(asyncpg.ForeignKeyViolationError, match="fk_tenants_owner"):
            await connection.execute(
                "UPDATE tenants SET owner_id = $1 WHERE tenant_id = $2", to_uuid(heir.subject_id), to_uuid(tenant.id)
            )
    finally:
        await connection.close()
