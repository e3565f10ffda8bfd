"""Users of a tenant and their permissions."""

from shared.access.permissions import TENANT_CODES
from tests.harness.bodies import PASSWORD, email, merchant_body, staff_body
from tests.harness.client import document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant


async def test_permissions_are_what_was_granted_and_a_change_holds_at_once(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.merchants.read")
    path = f"/v1/staff/{clerk.subject_id}/permissions"

    refused(await clerk.get("/v1/locations"), 403, "permission_missing")
    assert (await clerk.get("/v1/merchants")).status_code == 200
    changed = document(await tenant.owner.request("PUT", path, {"permissions": ["settings.locations.read"]}))

    assert changed["scopes"] == ["settings.locations.read"]
    refused(await clerk.get("/v1/locations"), 401, "session_revoked")
    again = document(
        await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": clerk.document["refresh_token"]})
    )
    clerk.headers["Authorization"] = f"Bearer {again['token']}"
    assert (await clerk.get("/v1/locations")).status_code == 200
    refused(await clerk.get("/v1/merchants"), 403, "permission_missing")
    assert (await tenant.owner.read(path))["permissions"] == ["settings.locations.read"]
    await identity.events(clerk.subject_id, "user.created", "user.permissions_changed")


async def test_nobody_grants_what_they_do_not_hold(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.staff.read", "settings.staff.write", "orders.jobs.read")
    colleague = document(await tenant.owner.post("/v1/staff", staff_body("reports")), 201)
    path = f"/v1/staff/{colleague['id']}/permissions"

    creating = await clerk.post("/v1/staff", staff_body("orders"))
    setting = await clerk.request("PUT", path, {"permissions": ["reports", "billing"]})

    assert "orders" in refused(creating, 403, "permission_not_held")["missing"]
    assert refused(setting, 403, "permission_not_held")["missing"] == ["billing", "billing.manage", "billing.read"]
    kept = await clerk.request("PUT", path, {"permissions": ["reports", "orders.jobs.read"]})
    assert document(kept)["permissions"] == ["orders.jobs.read", "reports"]
    unknown = await clerk.request("PUT", path, {"permissions": ["orders.jobs.read", "world.domination"]})
    assert pointers(refused(unknown, 422, "invalid")) == ["/permissions/1"]
    platform = await tenant.owner.request("PUT", path, {"permissions": ["platform"]})
    refused(platform, 422, "invalid")


async def test_nobody_changes_their_own_rights_or_those_of_the_owner(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.staff.read", "settings.staff.write")
    owner_id = tenant.document["owner"]["id"]

    own = await clerk.request("PUT", f"/v1/staff/{clerk.subject_id}/permissions", {"permissions": []})
    disabling = await clerk.post(f"/v1/staff/{clerk.subject_id}/disable")
    owners = await clerk.request("PUT", f"/v1/staff/{owner_id}/permissions", {"permissions": []})
    out = await clerk.post(f"/v1/staff/{owner_id}/disable")
    stolen = await clerk.patch(f"/v1/staff/{owner_id}", {"email": email("thief")})

    refused(own, 403, "own_account")
    refused(disabling, 403, "own_account")
    for answer in (owners, out, stolen):
        refused(answer, 409, "owner_protected")
    permissions = await clerk.read(f"/v1/staff/{owner_id}/permissions")
    assert permissions["is_owner"] is True
    assert set(permissions["scopes"]) == TENANT_CODES


async def test_nobody_strips_disables_or_readdresses_somebody_who_holds_more(tenant: Tenant) -> None:
    colleague = await tenant.create_staff("settings.staff.write", "orders")
    senior = await tenant.create_staff("reports", "orders")
    junior = await tenant.create_staff("orders")

    for person, status in ((senior, 403), (junior, 200)):
        path = f"/v1/staff/{person.subject_id}"
        answers = [
            await colleague.patch(path, {"email": email()}),
            await colleague.put(f"{path}/permissions", {"permissions": []}),
            await colleague.post(f"{path}/disable"),
        ]
        assert [answer.status_code for answer in answers] == [status] * 3
        if status == 403:
            assert refused(answers[0], 403, "permission_not_held")["missing"] == ["reports", "reports.read"]
    key = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings.staff.write"]})
    narrow = tenant.owner.using({"X-Api-Key": key["api_key"]})
    refused(await narrow.patch(f"/v1/staff/{tenant.owner.subject_id}", {"email": email()}), 403, "permission_not_held")
    assert (await colleague.patch(f"/v1/staff/{senior.subject_id}", {"first_name": "Ada"})).status_code == 200


async def test_a_disabled_member_of_staff_is_out_at_once_with_session_and_key(
    identity: Identity, tenant: Tenant
) -> None:
    clerk = await tenant.create_staff("settings")
    made = await clerk.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings.locations.read"]})
    key = identity.nobody.using({"X-Api-Key": made["api_key"]}, made)
    assert (await key.get("/v1/locations")).status_code == 200

    await tenant.owner.create(f"/v1/staff/{clerk.subject_id}/disable")

    assert (await clerk.get("/v1/locations")).status_code == 401
    refused(await key.get("/v1/locations"), 401, "subject_disabled")
    body = {"tenant": tenant.id, "email": clerk.document["principal"]["email"], "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", body), 401, "credentials_wrong")
    enabled = await tenant.owner.create(f"/v1/staff/{clerk.subject_id}/enable")
    assert enabled["status"] == "active"
    await identity.log_in(tenant.id, clerk.document["principal"]["email"])
    assert (await key.get("/v1/locations")).status_code == 200


async def test_an_e_mail_address_is_one_person_in_a_tenant(tenant: Tenant) -> None:
    body = staff_body("orders")
    made = document(await tenant.owner.post("/v1/staff", body), 201)

    twice = await tenant.owner.post("/v1/staff", {**body, "email": str(body["email"]).upper()})
    as_merchant = await tenant.owner.post(
        "/v1/merchants", merchant_body(tenant.default_location, login_email=body["email"])
    )
    taken = await tenant.owner.patch(f"/v1/staff/{made['id']}", {"email": tenant.owner_email})

    for answer in (twice, as_merchant):
        assert refused(answer, 409, "email_taken")["existing_id"] == made["id"]
    assert refused(taken, 409, "email_taken")["existing_id"] == tenant.document["owner"]["id"]


async def test_a_changed_e_mail_address_is_what_one_logs_in_with(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("orders")
    address = email("new")

    changed = document(
        await tenant.owner.patch(f"/v1/staff/{clerk.subject_id}", {"email": address, "last_name": "Neu"})
    )

    assert (changed["email"], changed["last_name"], changed["first_name"]) == (address, "Neu", "Sam")
    await identity.log_in(tenant.id, address)
    old = {"tenant": tenant.id, "email": clerk.document["principal"]["email"], "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", old), 401, "credentials_wrong")


async def test_a_stale_if_match_changes_nothing(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("orders")
    path = f"/v1/staff/{clerk.subject_id}"
    etag = (await tenant.owner.get(path)).headers["etag"]

    first = await tenant.owner.patch(path, {"first_name": "Eins"}, headers={"If-Match": etag})
    second = await tenant.owner.patch(path, {"first_name": "Zwei"}, headers={"If-Match": etag})

    assert first.status_code == 200
    refused(second, 412, "precondition_failed")
    assert (await tenant.owner.read(path))["first_name"] == "Eins"
    assert (await tenant.owner.get(path, headers={"If-None-Match": first.headers["etag"]})).status_code == 304
    refused(await tenant.owner.patch(path, {"first_name": None}), 422, "invalid")


async def test_a_repeated_creation_with_the_same_idempotency_key_makes_one_person(tenant: Tenant) -> None:
    body = staff_body("orders")

    first = await tenant.owner.post("/v1/staff", body, headers={"Idempotency-Key": "one"})
    second = await tenant.owner.post("/v1/staff", body, headers={"Idempotency-Key": "one"})

    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    found = await tenant.owner.read("/v1/staff?status=active")
    assert [one["email"] for one in found["data"]].count(str(body["email"])) == 1
