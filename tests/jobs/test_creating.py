"""Creating jobs: the stored job and the response, the merchant, references and repetitions."""

import asyncio
from typing import Any

import pytest

from shared.events.jobs import JobCreated
from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.jobs import Jobs, Tenant


def codes(problem: dict[str, Any]) -> set[tuple[str, str]]:
    return {(error["pointer"], error["code"]) for error in problem["errors"]}


async def test_the_smallest_job_gets_the_default_location(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    answer = await merchant.api.post("/v1/jobs", smallest_job())

    assert answer.status_code == 201, answer.text
    assert answer.headers["ETag"] == '"1"'
    job = answer.json()
    assert job["object"] == "job"
    assert job["id"].startswith("job_")
    assert (job["merchant_id"], job["created_by"]) == (merchant.id, merchant.id)
    assert (job["location_id"], job["timezone"]) == (tenant.default_location, "America/Montreal")
    assert (job["status"], job["type"], job["version"], job["livemode"]) == ("new", "delivery", 1, True)
    assert job["allowed_transitions"] == ["in_progress", "cancelled"]
    assert (await merchant.api.read(f"/v1/jobs/{job['id']}")) == job


async def test_a_job_with_all_fields_is_stored_as_given(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    asked = smallest_job(
        reference_id="ORDER-1",
        type="exchange",
        short_description="Échange d’un canapé 🛋",
        scheduled_date="2026-12-24",
        time_window={"start": "22:00", "end": "02:00"},
        timezone="Asia/Tokyo",
        priority=7,
        contact={
            "first_name": "Ada",
            "last_name": "Lovelace",
            "company": "Analytical",
            "phone": "+44 20 7946 0958",
            "email": "ada@example.com",
        },
        address={"line1": "1 Rue X", "city": "Montréal", "region": "QC", "postal_code": "H2X 1Y4", "country": "CA"},
        geo={"latitude": 45.5, "longitude": -73},
        location_id=tenant.toronto,
        distribution_location_id=tenant.default_location,
        balance_owed={"amount": 12_345, "currency": "CAD"},
        instructions="Ring twice.\nThen wait.",
        invoices=["F-1", "F-2"],
        barcodes=["0001"],
        tags=["fragile"],
        metadata={"shop": "42", "empty": ""},
        actions=[
            {"type": "delivery", "description": "Sofa", "quantity": 1, "sku": "S-1", "barcode": "B", "unit": "piece"},
            {"type": "return", "position": 1, "quantity": 3},
            {"position": 1},
        ],
    )

    job = await merchant.api.create_job(asked)

    asked["contact"]["phone"] = "+442079460958"
    assert job["scheduled_window"] == {"starts_at": "2026-12-24T13:00:00Z", "ends_at": "2026-12-24T17:00:00Z"}
    kept = {name: job[name] for name in asked if name not in ("actions", "address")}
    assert kept == {name: asked[name] for name in kept}
    assert {name: value for name, value in job["address"].items() if value} == asked["address"]
    placed = [(action["position"], action["type"], action["quantity"]) for action in job["actions"]]
    assert placed == [(1, "delivery", 1), (1, "return", 3), (1, "exchange", 1)]
    assert {(action["object"], action["job_id"], action["status"]) for action in job["actions"]} == {
        ("action", job["id"], "undetermined")
    }
    assert (await merchant.api.read(f"/v1/jobs/{job['id']}")) == job


async def test_two_hundred_actions_are_taken_and_one_more_is_not(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    job = await merchant.api.create_job(smallest_job(actions=[{"sku": str(number)} for number in range(200)]))
    refused = await merchant.api.post("/v1/jobs", smallest_job(actions=[{}] * 201))

    assert [action["sku"] for action in job["actions"]] == [str(number) for number in range(200)]
    assert [action["position"] for action in job["actions"]] == list(range(1, 201))
    assert (refused.status_code, codes(refused.json())) == (422, {("/actions", "too_long")})


async def test_a_created_job_is_published_whole(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    overnight = {"scheduled_date": "2026-12-24", "time_window": {"start": "22:00", "end": "02:00"}}
    asked = smallest_job(distribution_location_id=tenant.toronto, actions=[{"sku": "S-1"}], **overnight)

    two_places = await merchant.api.create_job(asked)
    one_place = await merchant.api.create_job({**asked, "distribution_location_id": tenant.default_location})

    events = {event.subject: event for event in await service.published(tenant, 2)}
    event = events[two_places["id"]]
    assert isinstance(event, JobCreated)
    assert (event.sequence, event.data.sequence, event.data.tenant_id) == (1, 1, tenant.id)
    assert event.data.location_ids == [tenant.default_location, tenant.toronto]
    assert events[one_place["id"]].data.location_ids == [tenant.default_location]
    computed = {"allowed_transitions", "scheduled_window"}
    assert event.data.job.model_dump(mode="json") == {
        name: value for name, value in two_places.items() if name not in computed
    }


async def test_an_administrator_names_the_merchant(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(level=1, api_access=False)
    staff = await tenant.create_user(permissions=["orders.jobs.write", "orders.jobs.read"])
    owner = await tenant.create_user("owner")

    for caller in (staff, owner, service.platform(tenant)):
        job = await caller.create_job(smallest_job(merchant_id=merchant.id))
        missing = await caller.post("/v1/jobs", smallest_job())

        assert (job["merchant_id"], job["location_id"]) == (merchant.id, tenant.default_location)
        assert job["created_by"] != merchant.id
        assert (missing.status_code, codes(missing.json())) == (422, {("/merchant_id", "merchant_required")})


async def test_only_an_active_merchant_of_the_tenant_can_be_named(service: Jobs, tenant: Tenant) -> None:
    owner = await tenant.create_user("owner")
    disabled = await tenant.create_merchant(status="disabled", api_access=False)
    stranger = await (await service.create_tenant()).create_merchant()

    for unknown in (stranger.id, new_id("mer")):
        answer = await owner.post("/v1/jobs", smallest_job(merchant_id=unknown))
        assert (answer.status_code, codes(answer.json())) == (422, {("/merchant_id", "merchant_unknown")})
    answer = await owner.post("/v1/jobs", smallest_job(merchant_id=disabled.id))
    assert (answer.status_code, answer.json()["code"]) == (409, "merchant_inactive")
    # 422 for the request before 409 for the merchant.
    answer = await owner.post("/v1/jobs", smallest_job(merchant_id=disabled.id, location_id=new_id("loc")))
    assert (answer.status_code, codes(answer.json())) == (422, {("/location_id", "location_not_yours")})


async def test_a_merchant_creates_only_its_own_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()

    own = await merchant.api.post("/v1/jobs", smallest_job(merchant_id=merchant.id))
    foreign = await merchant.api.post("/v1/jobs", smallest_job(merchant_id=other.id))

    assert own.status_code == 201
    assert (foreign.status_code, codes(foreign.json())) == (422, {("/merchant_id", "merchant_not_yours")})
    assert await service.count(other) == 0


async def test_a_job_needs_one_of_the_merchants_active_locations(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    without_default = await tenant.create_merchant(default_location_id=None)
    elsewhere = (await service.create_tenant()).default_location

    async def refused(api: Any, **more: Any) -> set[tuple[str, str]]:
        answer = await api.post("/v1/jobs", smallest_job(**more))
        assert answer.status_code == 422, answer.text
        return codes(answer.json())

    assert await refused(without_default.api) == {("/location_id", "location_required")}
    assert await refused(merchant.api, location_id=elsewhere) == {("/location_id", "location_not_yours")}
    assert await refused(merchant.api, location_id=tenant.closed) == {("/location_id", "location_inactive")}
    both = {"location_id": tenant.closed, "distribution_location_id": tenant.closed}
    assert await refused(merchant.api, **both) == {
        ("/location_id", "location_inactive"),
        ("/distribution_location_id", "location_inactive"),
    }
    assert await refused(merchant.api, distribution_location_id=elsewhere) == {
        ("/distribution_location_id", "location_not_yours")
    }
    assert (await service.count(merchant), await service.count(without_default)) == (0, 0)


async def test_a_location_whose_event_is_delayed_is_503(tenant: Tenant) -> None:
    coming = new_id("loc")
    merchant = await tenant.create_merchant(location_ids=[coming], default_location_id=coming)

    answer = await merchant.api.post("/v1/jobs", smallest_job())

    assert (answer.status_code, answer.json()["code"]) == (503, "access_not_ready")
    assert "Retry-After" in answer.headers


async def test_a_reference_is_used_once_per_merchant(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    first = await merchant.api.create_job(smallest_job(reference_id="R-1"))

    again = await merchant.api.post("/v1/jobs", smallest_job(reference_id=" R-1 "))
    others = await other.api.post("/v1/jobs", smallest_job(reference_id="R-1"))

    assert (again.status_code, again.json()["code"], again.json()["existing_id"]) == (
        409,
        "reference_id_taken",
        first["id"],
    )
    assert others.status_code == 201
    # 422 before 409.
    assert (await merchant.api.post("/v1/jobs", smallest_job(reference_id="R-1", priority=-1))).status_code == 422


async def test_of_concurrent_jobs_with_one_reference_one_is_created(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    answers = await asyncio.gather(
        *(merchant.api.post("/v1/jobs", smallest_job(reference_id="R-1", priority=number)) for number in range(30))
    )

    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(made) == 1
    assert {answer.json()["existing_id"] for answer in answers if answer.status_code == 409} == set(made)
    assert {answer.status_code for answer in answers} == {201, 409}
    assert await service.count(merchant) == 1


async def test_a_repeat_with_the_same_key_gets_the_first_response(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    key = {"Idempotency-Key": "order-1"}

    first = await merchant.api.post("/v1/jobs", smallest_job(), headers=key)
    again = await merchant.api.post("/v1/jobs", smallest_job(), headers=key)
    other = await merchant.api.post("/v1/jobs", smallest_job(priority=1), headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers["ETag"]) == (first.json(), first.headers["ETag"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await service.count(merchant) == 1


async def test_a_conflict_is_stored_for_its_key_and_an_error_is_not(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job(smallest_job(reference_id="R-1"))
    key = {"Idempotency-Key": "order-2"}

    conflict = await merchant.api.post("/v1/jobs", smallest_job(reference_id="R-1"), headers=key)
    again = await merchant.api.post("/v1/jobs", smallest_job(reference_id="R-1"), headers=key)
    fault = await merchant.api.post("/v1/jobs", smallest_job(priority=-1), headers={"Idempotency-Key": "order-3"})
    corrected = await merchant.api.post("/v1/jobs", smallest_job(), headers={"Idempotency-Key": "order-3"})

    assert (conflict.status_code, again.status_code) == (409, 409)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (conflict.json(), "true")
    assert (fault.status_code, corrected.status_code) == (422, 201)
    assert await service.count(merchant) == 2


async def test_fifty_concurrent_requests_with_one_key_create_one_job(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    key = {"Idempotency-Key": "order-4"}

    answers = await asyncio.gather(*(merchant.api.post("/v1/jobs", smallest_job(), headers=key) for _ in range(50)))

    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["id"] for answer in made}) == 1
    assert len([answer for answer in made if "Idempotency-Replayed" not in answer.headers]) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"idempotency_in_flight"}
    assert await service.count(merchant) == 1
    assert len(await service.published(tenant, 1)) == 1


async def test_idempotency_keys_of_two_callers_are_independent(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    key = {"Idempotency-Key": "order-5"}

    job = await merchant.api.create_job(smallest_job(), headers=key)
    others = await other.api.create_job(smallest_job(), headers=key)

    assert (job["merchant_id"], others["merchant_id"]) == (merchant.id, other.id)


async def test_a_test_key_makes_test_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(livemode=False)
    asked = smallest_job(reference_id="R-1", merchant_id=merchant.id)

    job = await merchant.api.create_job(asked)
    (event,) = await service.published(tenant, 1)
    live = await (await tenant.create_user("owner")).post("/v1/jobs", asked)

    assert job["livemode"] is False
    assert event.data.livemode is False
    # References are unique per mode.
    assert (live.status_code, live.json()["livemode"]) == (201, True)


@pytest.mark.parametrize("zone", ["America/Toronto", None])
async def test_a_job_without_a_zone_gets_its_locations(tenant: Tenant, zone: str | None) -> None:
    merchant = await tenant.create_merchant()

    job = await merchant.api.create_job(smallest_job(location_id=tenant.toronto, timezone=zone))

    assert job["timezone"] == "America/Toronto"


async def test_an_answer_says_where_the_record_is_that_it_made(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    once = {"Idempotency-Key": "once"}

    job = await merchant.api.post("/v1/jobs", smallest_job(), headers=once)
    again = await merchant.api.post("/v1/jobs", smallest_job(), headers=once)
    path = job.headers["Location"]
    copy = await merchant.api.post(f"{path}/clone")
    action = await merchant.api.post(f"{path}/actions", {"description": "Sofa"})

    assert path == again.headers["Location"] == f"/v1/jobs/{job.json()['id']}"
    assert (await merchant.api.read(path))["id"] == job.json()["id"]
    assert copy.headers["Location"] == f"/v1/jobs/{copy.json()['id']}"
    assert action.headers["Location"] == f"{path}/actions/{action.json()['id']}"
    assert (await merchant.api.read(action.headers["Location"])) == action.json()
    changed = await merchant.api.patch(path, {"priority": 1})
    assert "Location" not in changed.headers
