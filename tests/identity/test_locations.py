"""Locations: updated field by field, deactivated only while nobody needs them, listed in pages."""

from tests.harness.bodies import location_body
from tests.harness.client import document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant


async def test_the_default_location_and_a_merchants_last_one_stay_active(identity: Identity, tenant: Tenant) -> None:
    one, two = (
        await tenant.owner.create("/v1/locations", location_body(reference_id="one")),
        await tenant.owner.create("/v1/locations", location_body()),
    )
    merchant = await tenant.create_merchant(
        api_access=False, location_ids=[one["id"], two["id"]], default_location_id=one["id"]
    )
    path = "/v1/locations/{}/{}".format

    refused(await tenant.owner.post(path(tenant.default_location, "deactivate")), 409, "location_is_default")
    stopped = await tenant.owner.create(path(one["id"], "deactivate"))
    again = await tenant.owner.create(path(one["id"], "deactivate"))
    last = refused(await tenant.owner.post(path(two["id"], "deactivate")), 409, "location_needed")

    assert (stopped["active"], again["version"]) == (False, stopped["version"])
    assert last["merchant_ids"] == [merchant.id]
    await tenant.owner.create(f"/v1/merchants/{merchant.id}/disable")
    await tenant.owner.create(path(two["id"], "deactivate"))
    refused(await tenant.owner.post(f"/v1/merchants/{merchant.id}/enable"), 409, "location_needed")
    await tenant.owner.create(path(one["id"], "activate"))
    await tenant.owner.create(f"/v1/merchants/{merchant.id}/enable")
    await identity.events(one["id"], "location.created", "location.deactivated", "location.activated")


async def test_a_location_is_changed_field_by_field(tenant: Tenant) -> None:
    made = await tenant.owner.create(
        "/v1/locations",
        location_body(
            type="warehouse", address={"raw": "1 Rue X"}, geo={"latitude": 45.5, "longitude": -73.6}, timezone="UTC"
        ),
    )
    path = f"/v1/locations/{made['id']}"

    changed = document(await tenant.owner.patch(path, {"name": "Laval", "address": None, "reference_id": "L"}))
    unchanged = document(await tenant.owner.patch(path, {"name": "Laval"}))

    assert (changed["name"], changed["address"], changed["geo"]) == ("Laval", None, made["geo"])
    assert (changed["version"], unchanged["version"]) == (2, 2)
    taken = await tenant.owner.post("/v1/locations", {"name": "Other", "reference_id": "L"})
    assert refused(taken, 409, "reference_id_taken")["existing_id"] == made["id"]
    bad = {"name": "x", "geo": {"latitude": 91, "longitude": 0}, "timezone": "Nowhere", "type": "hut"}
    problem = refused(await tenant.owner.post("/v1/locations", bad), 422, "invalid")
    assert set(pointers(problem)) == {"/geo/latitude", "/timezone", "/type"}


async def test_address_and_point_of_a_location_are_patched_member_by_member(tenant: Tenant) -> None:
    body = location_body(address={"line1": "1 Rue X", "city": "Laval"}, geo={"latitude": 45.5, "longitude": -73.6})
    path = f"/v1/locations/{(await tenant.owner.create('/v1/locations', body))['id']}"

    patch = {"address": {"city": None, "country": "CA"}, "geo": {"latitude": 45}}
    changed = document(await tenant.owner.patch(path, patch))
    halved = await tenant.owner.patch(path, {"geo": {"longitude": None}})

    address = {name: value for name, value in changed["address"].items() if value is not None}
    assert (address, changed["geo"]) == (
        {"line1": "1 Rue X", "country": "CA"},
        {"latitude": 45.0, "longitude": -73.6},
    )
    assert pointers(refused(halved, 422, "invalid")) == ["/geo/longitude"]


async def test_lists_are_paged_without_gaps_or_repeats(tenant: Tenant) -> None:
    made = [await tenant.owner.create("/v1/locations", location_body()) for _ in range(5)]
    found: list[str] = []
    path = "/v1/locations?limit=2"

    while True:
        page = await tenant.owner.read(path)
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        path = f"/v1/locations?limit=2&cursor={page['next_cursor']}"

    assert found == [*(one["id"] for one in reversed(made)), tenant.default_location]
