"""Searching actions of all jobs."""

from typing import Any

import pytest

from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant

TABLE: dict[str, Any] = {
    "type": "installation",
    "sku": "T-100%",
    "description": "Table en chêne, six chaises",
    "barcode": "4006381333931",
    "invoice_number": "F-2029-0017",
    "external_reference_id": "ext_1",
}
RUG: dict[str, Any] = {"sku": "R-7", "description": "Tapis", "external_reference_id": "extra1"}


async def found(api: Api, **conditions: Any) -> list[str]:
    """The ids that a list finds under these conditions; a search must find the same."""
    listed = await api.listed("/v1/actions", **conditions)
    assert await api.searched("/v1/actions/search", **conditions) == listed
    return listed


@pytest.fixture(scope="module")
async def shop(service: Jobs) -> Api:
    """A merchant with one job with two actions (table, rug)."""
    return (await (await service.create_tenant()).create_merchant()).api


@pytest.fixture(scope="module")
async def stock(shop: Api) -> dict[str, str]:
    """The ids of the job and of its actions."""
    job = await shop.create_job(smallest_job(actions=[TABLE, RUG]))
    table, rug = job["actions"]
    return {"job": job["id"], "table": table["id"], "rug": rug["id"]}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, {"table", "rug"}),
        ({"status": ["undetermined"]}, {"table", "rug"}),
        ({"status": ["completed", "damaged"]}, set()),
        ({"type": ["installation"]}, {"table"}),
        ({"type": ["installation", "delivery"]}, {"table", "rug"}),
        ({"sku": "t-100%"}, {"table"}),
        ({"sku": "T-100"}, set()),
        ({"barcode": "4006381333931"}, {"table"}),
        ({"invoice_number": "f-2029-0017"}, {"table"}),
        ({"external_reference_id": "EXT_1"}, {"table"}),
        ({"external_reference_id": "extra1", "sku": "R-7"}, {"rug"}),
        ({"external_reference_id": "extra1", "sku": "T-100%"}, set()),
        ({"q": "chene"}, {"table"}),
        ({"q": "TABLE chaises six"}, {"table"}),
        ({"q": "table tapis"}, set()),
        ({"q": "chais"}, set()),
        ({"q": "381333"}, {"table"}),
        ({"q": "2029-0017"}, {"table"}),
        ({"q": "ext"}, {"table", "rug"}),
        ({"q": "t_100"}, {"table"}),
        ({"created_gte": "2020-01-01T00:00:00Z", "updated_lte": "2090-01-01T00:00:00Z"}, {"table", "rug"}),
        ({"created_lte": "2020-01-01T00:00:00Z"}, set()),
        ({"updated_gte": "2090-01-01T00:00:00Z"}, set()),
    ],
)
async def test_each_condition_finds_what_it_says(
    shop: Api, stock: dict[str, str], conditions: dict[str, Any], expected: set[str]
) -> None:
    assert set(await found(shop, **conditions)) == {stock[name] for name in expected}


async def test_actions_look_as_they_do_in_their_job(shop: Api, stock: dict[str, str]) -> None:
    job = await shop.read(f"/v1/jobs/{stock['job']}")

    listed = await shop.read("/v1/actions", params={"job_id": stock["job"], "sort": "created_at"})

    by_id = {action["id"]: action for action in listed["data"]}
    assert by_id == {action["id"]: action for action in job["actions"]}
    assert {action["job_id"] for action in listed["data"]} == {stock["job"]}


async def test_actions_are_found_by_their_job(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    first, second = [await api.create_job(smallest_job(actions=[TABLE, RUG])) for _ in range(2)]

    assert set(await found(api, job_id=first["id"])) == {action["id"] for action in first["actions"]}
    assert await found(api, job_id=second["id"], sku="R-7") == [second["actions"][1]["id"]]
    assert await found(api, job_id=new_id("job")) == []


async def test_actions_are_sorted_as_asked(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = merchant.api
    a, b, c = [(await api.create_job(smallest_job(actions=[{"sku": name}])))["actions"][0] for name in "ABC"]
    path = f"/v1/jobs/{b['job_id']}/actions/{b['id']}"
    assert (await api.patch(path, {"quantity": 5})).status_code == 200

    for reader in (api, await tenant.create_user("owner")):
        for limit in (1, 200):
            assert await found(reader, sort="created_at", limit=limit) == [a["id"], b["id"], c["id"]]
            assert await found(reader, limit=limit) == [c["id"], b["id"], a["id"]]
            assert await found(reader, sort="updated_at", limit=limit) == [a["id"], c["id"], b["id"]]
            assert await found(reader, sort="-updated_at", limit=limit) == [b["id"], c["id"], a["id"]]


async def test_the_actions_of_a_deleted_job_are_gone_until_it_is_restored(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    kept, deleted = [await api.create_job(smallest_job(actions=[TABLE])) for _ in range(2)]
    ids = [job["actions"][0]["id"] for job in (kept, deleted)]

    assert (await api.delete(f"/v1/jobs/{deleted['id']}")).status_code == 204
    for conditions in ({}, {"sku": "T-100%"}, {"q": "chene"}, {"status": ["undetermined"]}):
        assert await found(api, **conditions) == ids[:1]
    assert await found(api, job_id=deleted["id"]) == []

    assert (await api.post(f"/v1/jobs/{deleted['id']}/restore")).status_code == 200
    assert await found(api, q="chene") == ids[::-1]


async def test_no_condition_shows_rows_of_others(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    job = await merchant.api.create_job(smallest_job(actions=[TABLE]))
    stranger = await service.create_tenant()
    others = [
        other.api,
        await other.session(),
        (await tenant.create_merchant(livemode=False)).api,
        await tenant.create_user("owner", livemode=False),
        (await stranger.create_merchant()).api,
        await stranger.create_user("owner"),
        service.platform(stranger),
    ]
    conditions: list[dict[str, Any]] = [
        {},
        {"job_id": job["id"]},
        {"status": ["undetermined", "completed"]},
        {"type": ["installation"]},
        {"sku": "T-100%"},
        {"barcode": "4006381333931"},
        {"invoice_number": "F-2029-0017"},
        {"external_reference_id": "ext_1"},
        {"q": "chene 381333"},
        {"sort": "updated_at", "created_gte": "2020-01-01T00:00:00Z"},
    ]

    for condition in conditions:
        for api in others:
            assert await found(api, **condition) == [], condition
        for api in (
            merchant.api,
            await merchant.session(),
            await tenant.create_user(permissions=["orders.actions.read"]),
        ):
            assert await found(api, **condition) == [job["actions"][0]["id"]], condition


async def test_administrators_filter_by_merchant_and_merchants_cannot(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    mine, theirs = [
        (await one.api.create_job(smallest_job(actions=[RUG])))["actions"][0]["id"] for one in (merchant, other)
    ]
    owner = await tenant.create_user("owner")

    assert await found(owner) == [theirs, mine]
    assert await found(owner, merchant_id=merchant.id) == [mine]
    listed = await merchant.api.get("/v1/actions", params={"merchant_id": merchant.id})
    searched = await merchant.api.post("/v1/actions/search", {"merchant_id": merchant.id})
    assert (listed.status_code, listed.json()["errors"][0]["parameter"]) == (422, "merchant_id")
    assert (searched.status_code, searched.json()["errors"][0]["pointer"]) == (422, "/merchant_id")


async def test_the_permission_to_read_jobs_does_not_list_actions(tenant: Tenant) -> None:
    reader = await tenant.create_user(permissions=["orders.jobs.read"])

    assert (await reader.get("/v1/actions")).status_code == 403
    assert (await reader.post("/v1/actions/search", {})).status_code == 403


@pytest.mark.parametrize(
    ("conditions", "place"),
    [
        ({"reference_id": "R-1"}, "reference_id"),
        ({"job_id": "act_01h455vb4pex5vsknk084sn02q"}, "job_id"),
        ({"job_id": ""}, "job_id"),
        ({"status": ["new"]}, "status.0"),
        ({"type": [""]}, "type"),
        ({"sku": " "}, "sku"),
        ({"barcode": "x" * 101}, "barcode"),
        ({"invoice_number": ""}, "invoice_number"),
        ({"external_reference_id": ""}, "external_reference_id"),
        ({"q": "…"}, "q"),
        ({"sort": "scheduled_date"}, "sort"),
        ({"created_gte": "2030-01-02T00:00:00Z", "created_lte": "2030-01-01T00:00:00Z"}, "created_lte"),
        ({"updated_gte": "2030-01-02T00:00:00Z", "updated_lte": "2030-01-01T00:00:00Z"}, "updated_lte"),
    ],
)
async def test_an_invalid_condition_is_refused_with_its_name(shop: Api, conditions: dict[str, Any], place: str) -> None:
    listed = await shop.get("/v1/actions", params=conditions)
    searched = await shop.post("/v1/actions/search", conditions)

    assert (listed.status_code, listed.json()["errors"][0]["parameter"]) == (422, place)
    assert (searched.status_code, searched.json()["errors"][0]["pointer"]) == (422, "/" + place.replace(".", "/"))
