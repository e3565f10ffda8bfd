"""A day of a bakery that delivers, from the morning to the evening, with everybody who takes part in it."""

import json
from dataclasses import dataclass

from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.people import Tenant
from tests.harness.receiver import Received, Receiver
from tests.harness.waiting import eventually

ADA = {"first_name": "Ada", "last_name": "Lovelace", "phone": "+15145550100", "email": "ada@example.com"}


@dataclass
class Day:
    """Who takes part, where, and the ids of the day's orders by name."""

    shop: Api
    dispatch: Api
    office: Api
    montreal: str
    laval: str
    receiver: Receiver
    orders: dict[str, str]


async def test_a_day_of_a_bakery_that_delivers(tenant: Tenant, receiver: Receiver) -> None:
    # The delivery company has two branches. The bakery may use both; the kitchen's screen listens to Laval alone.
    montreal, laval = await tenant.create_locations("Montréal", "Laval")
    bakery = await tenant.create_merchant(location_ids=[montreal, laval])
    dispatch = await tenant.create_staff("orders")
    office = await tenant.create_staff("reports", "customers")
    await tenant.create_endpoint(receiver.url("/kitchen"), event_types=["*"], location_ids=[laval])
    await tenant.create_endpoint(receiver.url("/books"), event_types=["job.*", "action.*"])
    day = Day(await bakery.reveal(), dispatch, office, montreal, laval, receiver, {})

    await orders_come_in(day)
    await ada_changes_her_mind(day)
    await dispatch_sends_bob(day)
    await some_baguettes_fall_into_the_snow(day)
    await the_cake_arrives_and_the_pie_was_a_mistake(day)
    await everybody_has_heard_the_same(day)
    await a_branch_sends_a_file(day)
    await the_office_closes_the_day(day)


async def orders_come_in(day: Day) -> None:
    # Seven o'clock. The web shop sends the night's orders at once; one of them has a bad phone number and comes back, the others stay.
    orders = [
        smallest_job(
            location_id=day.montreal, reference_id="W-1", contact=ADA, scheduled_date="2026-12-24", tags=["cake"]
        ),
        smallest_job(location_id=day.montreal, reference_id="W-2", contact={**ADA, "phone": "12"}),
        smallest_job(
            location_id=day.montreal,
            reference_id="W-3",
            contact={"company": "Café Turing"},
            actions=[{"description": "Baguettes", "quantity": 40}],
        ),
    ]
    night = (await day.shop.at("jobs").post("/v1/jobs/bulk", {"mode": "partial", "items": orders})).json()
    assert [result["status"] for result in night["results"]] == [201, 422, 201]
    assert night["results"][1]["problem"]["errors"][0]["pointer"] == "/contact/phone"
    day.orders |= {"cake": night["results"][0]["id"], "baguettes": night["results"][2]["id"]}

    # A network hiccup: the shop is not sure whether a phone order got through, so it sends it again. It is one order.
    key = {"Idempotency-Key": "phone-order-1"}
    first = await day.shop.at("jobs").post(
        "/v1/jobs", smallest_job(location_id=day.laval, reference_id="P-1", contact=ADA), headers=key
    )
    again = await day.shop.at("jobs").post(
        "/v1/jobs", smallest_job(location_id=day.laval, reference_id="P-1", contact=ADA), headers=key
    )
    assert (first.status_code, again.json()) == (201, first.json())
    day.orders["pie"] = first.json()["id"]


async def ada_changes_her_mind(day: Day) -> None:
    cake = day.orders["cake"]
    # Ada calls: her cake should go by way of Laval, and be a surprise. The kitchen in Laval learns of it at that moment.
    patch = {"location_id": day.laval, "instructions": "A surprise: ring twice", "contact": {"email": None}}
    changed = (await day.shop.at("jobs").patch(f"/v1/jobs/{cake}", patch)).json()
    assert changed["contact"] == {**changed["contact"], "first_name": "Ada", "phone": "+15145550100", "email": None}
    moved = await eventually(
        lambda: _seen(day.receiver, "/kitchen", "job.updated", cake), what="the kitchen hears of the cake"
    )
    assert set(moved.json()["data"]["location_ids"]) == {day.montreal, day.laval}
    assert moved.json()["data"]["changed_fields"] == ["contact", "instructions", "location_id"]

    # Somebody looks for "lovelace" and for what is due on the 24th, and finds the same cake.
    by_name = (await day.shop.at("jobs").post("/v1/jobs/search", {"q": "lovelace", "tag": ["cake"]})).json()
    by_day = await day.shop.at("jobs").read(
        "/v1/jobs", params={"scheduled_date_gte": "2026-12-24", "scheduled_date_lte": "2026-12-24"}
    )
    assert [one["id"] for one in by_name["data"]] == [one["id"] for one in by_day["data"]] == [cake]


async def dispatch_sends_bob(day: Day) -> None:
    cake = day.orders["cake"]
    # Nine o'clock. Dispatch sends Bob. From now on the shop can still tag the order, but not send it elsewhere.
    await day.dispatch.at("jobs").create(f"/v1/jobs/{cake}/assign", {"assigned_to": "Bob"})
    await day.dispatch.at("jobs").create(f"/v1/jobs/{cake}/start")
    tagged = await day.shop.at("jobs").patch(f"/v1/jobs/{cake}", {"tags": ["cake", "call before"]})
    refused = await day.shop.at("jobs").patch(f"/v1/jobs/{cake}", {"location_id": day.montreal})
    assert (tagged.status_code, refused.status_code) == (200, 409)
    assert refused.json()["current_status"] == "in_progress"

    # A merchant cannot dispatch, whatever it tries, and cannot cancel what is on its way.
    assert (await day.shop.at("jobs").post(f"/v1/jobs/{cake}/complete")).status_code == 403
    assert (await day.shop.at("jobs").post(f"/v1/jobs/{cake}/cancel")).status_code == 409


async def some_baguettes_fall_into_the_snow(day: Day) -> None:
    baguettes = day.orders["baguettes"]
    # The baguettes: of forty, thirty arrive and ten fell into the snow.
    (action,) = (await day.shop.at("jobs").read(f"/v1/jobs/{baguettes}/actions"))["data"]
    await day.dispatch.at("jobs").create(f"/v1/jobs/{baguettes}/start")
    outcome = {"completed": 30, "incomplete": 0, "damaged": 10, "note": "Snow"}
    await day.dispatch.at("jobs").create(f"/v1/jobs/{baguettes}/actions/{action['id']}/outcome", outcome)
    assert (await day.dispatch.at("jobs").create(f"/v1/jobs/{baguettes}/complete"))["status"] == "partially_completed"
    assert (await day.dispatch.at("jobs").create(f"/v1/jobs/{baguettes}/resolve", {"reason": "Ten refunded"}))[
        "status"
    ] == "resolved"


async def the_cake_arrives_and_the_pie_was_a_mistake(day: Day) -> None:
    cake = day.orders["cake"]
    pie = day.orders["pie"]
    # Noon. The cake has arrived; the pie was a mistake and is deleted, restored, and at last cancelled.
    assert (await day.dispatch.at("jobs").create(f"/v1/jobs/{cake}/complete"))["status"] == "completed"
    assert (await day.shop.at("jobs").delete(f"/v1/jobs/{pie}")).status_code == 204
    assert (await day.shop.at("jobs").get(f"/v1/jobs/{pie}")).status_code == 404
    await day.shop.at("jobs").create(f"/v1/jobs/{pie}/restore")
    assert (await day.shop.at("jobs").create(f"/v1/jobs/{pie}/cancel", {"reason": "Ordered twice"}))[
        "status_reason"
    ] == "Ordered twice"


async def everybody_has_heard_the_same(day: Day) -> None:
    cake = day.orders["cake"]
    # The history of the cake says who did what; the books have heard all of it.
    history = (await day.shop.at("jobs").read(f"/v1/jobs/{cake}/events"))["data"]
    expected = ["job.created", "job.updated", "job.updated", "job.started", "job.updated", "job.completed"]
    assert [one["type"] for one in history] == expected
    assert [one["sequence"] for one in history] == [1, 2, 3, 4, 5, 6]
    ids = {one["id"] for one in history}
    await day.receiver.wait_for(lambda: ids <= {request.webhook_id for request in day.receiver.at("/books")})


async def a_branch_sends_a_file(day: Day) -> None:
    # Afternoon. Another branch's orders come as a file; the shop tries it without effect, then for good.
    lines = [smallest_job(location_id=day.laval, reference_id=f"F-{number}") for number in range(1, 4)]
    file = "\n".join(json.dumps(line) for line in [*lines, {"contact": {}}])
    for dry_run, created in (("true", 0), ("false", 3)):
        sent = await day.shop.at("jobs").post(
            "/v1/job-imports",
            params={"dry_run": dry_run},
            content=file,
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert sent.status_code == 202, sent.text
        path = f"/v1/job-imports/{sent.json()['id']}"

        async def done(path: str = path) -> dict[str, object] | None:
            found = await day.shop.at("jobs").read(path)
            return found if found["status"] == "succeeded" else None

        finished = await eventually(done, what="the import is done")
        assert (finished["rows_failed"], finished["jobs_created"] if dry_run == "false" else 0) == (1, created)


async def the_office_closes_the_day(day: Day) -> None:
    cake = day.orders["cake"]
    # Evening. The office looks at the day, and Ada asks to be forgotten: her name is gone from jobs, history and search, the counts stay.
    summary = await day.office.at("jobs").read("/v1/reports/jobs/summary")
    assert (summary["total"], summary["by_status"]["completed"], summary["by_status"]["resolved"]) == (6, 1, 1)
    erased = await day.office.at("jobs").create("/v1/customers/erase", {"phone": "+15145550100"})
    assert erased["jobs_erased"] >= 2
    assert "Lovelace" not in (await day.shop.at("jobs").get(f"/v1/jobs/{cake}")).text
    assert "Lovelace" not in (await day.shop.at("jobs").get(f"/v1/jobs/{cake}/events")).text
    assert (await day.shop.at("jobs").post("/v1/jobs/search", {"q": "lovelace"})).json()["data"] == []
    assert (await day.office.at("jobs").read("/v1/reports/jobs/summary"))["total"] == 6


async def _seen(receiver: Receiver, path: str, event_type: str, job_id: str) -> Received | None:
    for request in receiver.at(path):
        document = request.json()
        if document["type"] == event_type and document["data"]["job"]["id"] == job_id:
            return request
    return None
