"""Many jobs in one request: each is checked on its own and has a result."""

import json
from typing import Any

import httpx

from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant


async def bulk(api: Api, *items: object, mode: str | None = None, **options: Any) -> httpx.Response:
    return await api.post("/v1/jobs/bulk", {"items": list(items), **({"mode": mode} if mode else {})}, **options)


async def results(api: Api, *items: object, mode: str | None = None) -> list[dict[str, Any]]:
    answer = await bulk(api, *items, mode=mode)
    assert answer.status_code == 207, answer.text
    document = answer.json()
    assert document["object"] == "bulk_result"
    assert document["mode"] == (mode or "partial")
    assert [result["index"] for result in document["results"]] == list(range(len(items)))
    assert document["created"] == sum(result["status"] == 201 for result in document["results"])
    assert document["failed"] == len(items) - document["created"]
    found: list[dict[str, Any]] = document["results"]
    return found


async def test_jobs_are_created_in_the_order_of_the_request(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    found = await results(merchant.api, *(smallest_job(reference_id=f"R-{number}") for number in range(200)))

    assert [result["status"] for result in found] == [201] * 200
    assert [result["job"]["reference_id"] for result in found] == [f"R-{number}" for number in range(200)]
    assert (await merchant.api.read(f"/v1/jobs/{found[7]['id']}")) == found[7]["job"]


async def test_an_invalid_item_has_its_own_problem(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    bad_phone = {**smallest_job(), "contact": {"first_name": "Ada", "phone": "12"}}
    stranger = smallest_job(location_id=new_id("loc"))

    found = await results(
        merchant.api, smallest_job(), bad_phone, "no object", {"colour": "red"}, stranger, smallest_job()
    )

    assert [result["status"] for result in found] == [201, 422, 422, 422, 422, 201]
    assert found[1]["problem"]["errors"][0]["pointer"] == "/contact/phone"
    assert found[1]["problem"]["code"] == "invalid"
    assert {error["pointer"] for error in found[3]["problem"]["errors"]} == {"/contact", "/address", "/colour"}
    assert found[4]["problem"]["errors"][0]["code"] == "location_not_yours"
    assert await tenant.service.count(merchant) == 2


async def test_invalid_text_affects_only_its_item(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    found = await results(merchant.api, smallest_job(), smallest_job(instructions="ring\u0000twice"))

    assert [result["status"] for result in found] == [201, 422]
    error = found[1]["problem"]["errors"][0]
    assert (error["pointer"], error["code"]) == ("/instructions", "control_character")


async def test_the_second_of_two_items_with_one_reference_names_the_first(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    first, second, third = await results(
        merchant.api, smallest_job(reference_id="A"), smallest_job(reference_id="A"), smallest_job(reference_id="B")
    )

    assert [first["status"], second["status"], third["status"]] == [201, 409, 201]
    assert second["problem"]["code"] == "reference_id_taken"
    assert second["problem"]["existing_id"] == first["id"]


async def test_atomic_creates_nothing_unless_all_can_be_created(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    taken = await merchant.api.create_job(smallest_job(reference_id="TAKEN"))

    found = await results(
        merchant.api,
        smallest_job(reference_id="NEW"),
        smallest_job(reference_id="TAKEN"),
        smallest_job(reference_id="NEW"),
        {"contact": {}},
        mode="atomic",
    )

    assert [result["status"] for result in found] == [424, 409, 409, 422]
    assert found[0]["problem"]["code"] == "not_done"
    assert found[1]["problem"]["existing_id"] == taken["id"]
    assert "existing_id" not in found[2]["problem"]
    assert found[2]["problem"]["item_index"] == 0
    assert await tenant.service.count(merchant) == 1

    again = await results(merchant.api, smallest_job(reference_id="NEW"), smallest_job(), mode="atomic")

    assert [result["status"] for result in again] == [201, 201]
    published = await tenant.service.published(tenant, 3)
    assert {event.subject for event in published} == {taken["id"], *(result["id"] for result in again)}


async def test_a_repeat_gets_the_whole_response_again(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    items = [smallest_job(reference_id="A"), {"contact": {}}]
    for mode, key in (("partial", "one"), ("atomic", "two")):
        first = await bulk(merchant.api, *items, mode=mode, headers={"Idempotency-Key": key})
        second = await bulk(merchant.api, *items, mode=mode, headers={"Idempotency-Key": key})
        other = await bulk(merchant.api, smallest_job(), mode=mode, headers={"Idempotency-Key": key})

        assert (first.status_code, second.status_code) == (207, 207)
        assert second.json() == first.json()
        assert second.headers["Idempotency-Replayed"] == "true"
        assert other.status_code == 422
    assert await tenant.service.count(merchant) == 1


async def test_only_an_unreadable_request_or_a_wrong_envelope_is_refused_as_a_whole(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    json_type = {"Content-Type": "application/json"}

    assert (await bulk(merchant.api)).status_code == 422
    assert (await bulk(merchant.api, *[smallest_job()] * 201)).status_code == 422
    assert (await bulk(merchant.api, smallest_job(), mode="some")).status_code == 422
    assert (await merchant.api.post("/v1/jobs/bulk", {"items": {"0": smallest_job()}})).status_code == 422
    assert (await merchant.api.post("/v1/jobs/bulk", {"items": [smallest_job()], "more": 1})).status_code == 422
    broken = await merchant.api.request("POST", "/v1/jobs/bulk", content=b'{"items": [', headers=json_type)
    assert broken.status_code == 400
    assert await tenant.service.count(merchant) == 0


async def test_a_bulk_request_can_be_larger_than_others_up_to_a_limit(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    headers = {"Content-Type": "application/json"}
    large = [smallest_job(instructions="x" * 4_900) for _ in range(100)]
    endless = json.dumps({"items": [smallest_job(instructions="x" * 2_200_000)]}).encode()

    assert len(json.dumps(large)) > service.settings.body_bytes_max
    assert {result["status"] for result in await results(merchant.api, *large)} == {201}
    assert (await merchant.api.request("POST", "/v1/jobs/bulk", content=endless, headers=headers)).status_code == 413


async def test_administrators_name_the_merchant_of_each_item(tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    staff = await tenant.create_user(permissions=["orders.jobs.write"])
    reader = await tenant.create_user(permissions=["orders.jobs.read"])

    found = await results(staff, smallest_job(merchant_id=one.id), smallest_job(), smallest_job(merchant_id=other.id))

    assert [result["status"] for result in found] == [201, 422, 201]
    assert found[2]["job"]["merchant_id"] == other.id
    assert (await bulk(reader, smallest_job())).status_code == 403
    assert (await bulk(await one.session(), smallest_job())).status_code == 403
