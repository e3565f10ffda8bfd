"""Actions: create, read, update, delete, and outcomes."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from shared.ids import new_id, to_uuid
from tests.harness.client import Api, document, refused
from tests.harness.job_states import STATUSES, JobActors, job_actors
from tests.harness.jobs import Jobs, Tenant

STOP = {"name": "Depot 4", "address": {"line1": "9 Rue Y", "city": "Laval"}, "instructions": "Rear door"}
WHOLE: dict[str, Any] = {
    "type": "pickup",
    "sku": "S-1",
    "description": "Sofa",
    "position": 3,
    "quantity": 4,
    "unit": "box",
    "piece_count": 8,
    "value": {"amount": 1250, "currency": "CAD"},
    "weight_grams": 9000,
    "volume_cubic_cm": 1000,
    "handling_seconds": 60,
    "stop": STOP,
    "invoice_number": "I-1",
    "barcode": "B-1",
    "external_reference_id": "X-1",
}


_MORE_ACTIONS = text(
    """
    INSERT INTO actions (
        id, job_id, tenant_id, merchant_id, livemode, type, position, quantity, status, version, created_at, updated_at,
        terms, parts
    )
    SELECT
        gen_random_uuid(), job_id, tenant_id, merchant_id, livemode, type, place, quantity, status, version, created_at,
        updated_at, terms, parts
    FROM actions, generate_series(201, 499) AS place WHERE job_id = :job_id AND position = 1
    """
)


@pytest.fixture(scope="module")
async def actors(service: Jobs) -> JobActors:
    """Actors of one tenant, for tests that use one job each."""
    return await job_actors(await service.create_tenant())


def path(job: dict[str, Any], action: dict[str, Any] | None = None, rest: str = "") -> str:
    return f"/v1/jobs/{job['id']}/actions" + (f"/{action['id']}{rest}" if action else "")


async def added(actors: JobActors, job: dict[str, Any], **more: Any) -> dict[str, Any]:
    return document(await actors.dispatch.post(path(job), more), 201)


async def test_an_action_is_added_with_all_fields(actors: JobActors) -> None:
    job = await actors.order(actions=[])

    answer = await actors.dispatch.post(path(job), WHOLE)

    action = answer.json()
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert {name: action[name] for name in WHOLE.keys() - {"stop"}} == {
        name: value for name, value in WHOLE.items() if name != "stop"
    }
    assert (action["stop"]["name"], action["stop"]["address"]["city"]) == ("Depot 4", "Laval")
    assert (action["object"], action["job_id"], action["status"]) == ("action", job["id"], "undetermined")
    assert (await actors.dispatch.read(path(job, action))) == action
    after = await actors.read(job)
    assert (after["actions"], after["version"]) == ([action], 2)


async def test_a_new_action_without_a_position_becomes_the_last(actors: JobActors) -> None:
    job = await actors.order(type="pickup", actions=[{"sku": "A", "position": 5}])

    last, first = await added(actors, job, sku="B"), await added(actors, job, sku="C", position=1)

    assert (last["position"], last["type"], first["position"]) == (6, "pickup", 1)
    assert [action["sku"] for action in (await actors.read(job))["actions"]] == ["C", "A", "B"]
    assert [action["sku"] for action in (await actors.dispatch.read(path(job)))["data"]] == ["C", "A", "B"]


async def test_a_list_of_actions_is_read_page_by_page(actors: JobActors) -> None:
    job = await actors.order(actions=[{"position": position % 4 + 1} for position in range(11)])
    await actors.order(actions=[{}])

    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await (await actors.merchant.session()).read(f"{path(job)}?limit=3{cursor}")
        found += page["data"]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert found == job["actions"]
    assert [action["position"] for action in found] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"quantity": 7, "sku": None}, {"quantity": 7, "sku": None}),
        ({"quantity": None}, {"quantity": 1}),
        ({"type": None, "stop": None}, {"type": "delivery", "stop": None}),
        ({"value": {"amount": 7}}, {"value": {"amount": 7, "currency": "CAD"}}),
        ({"position": 1}, {"position": 1}),
        ({"type": "exchange"}, {"type": "exchange"}),
        ({"description": " ", "unit": ""}, {"description": None, "unit": None}),
    ],
)
async def test_a_patch_changes_only_its_members(
    actors: JobActors, patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    job = await actors.order(actions=[WHOLE, {"sku": "Z"}])
    action = next(one for one in job["actions"] if one["sku"] == "S-1")

    answer = await actors.dispatch.patch(path(job, action), patch)

    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert after == {**action, **expected, "version": 2, "updated_at": after["updated_at"]}
    assert after in (await actors.read(job))["actions"]
    assert (await actors.history(job))[-1]["type"] == "action.updated"


async def test_a_null_position_makes_an_action_the_last(actors: JobActors) -> None:
    job = await actors.order(actions=[{"sku": "A"}, {"sku": "B"}, {"sku": "C"}])

    moved = await actors.dispatch.patch(path(job, job["actions"][0]), {"position": None})
    stays = await actors.dispatch.patch(path(job, job["actions"][0]), {"position": None})

    assert (moved.json()["position"], stays.json()) == (4, moved.json())
    assert [action["sku"] for action in (await actors.read(job))["actions"]] == ["B", "C", "A"]


async def test_a_nested_patch_changes_members_of_the_stop(actors: JobActors) -> None:
    job = await actors.order(actions=[WHOLE])
    action = job["actions"][0]

    answer = await actors.dispatch.patch(
        path(job, action), {"stop": {"address": {"city": None, "raw": "9 Rue Y, Laval"}, "instructions": None}}
    )

    stop = answer.json()["stop"]
    assert (stop["name"], stop["instructions"]) == ("Depot 4", None)
    assert (stop["address"]["line1"], stop["address"]["city"]) == ("9 Rue Y", None)
    wrong = await actors.dispatch.patch(path(job, action), {"stop": {"address": {"raw": None, "line1": None}}})
    assert [(error["pointer"], error["code"]) for error in wrong.json()["errors"]] == [
        ("/stop/address/line1", "address_empty")
    ]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            {"quantity": 0, "position": 10_001, "value": {"currency": "cad"}, "stop": {"address": None}},
            ["/position", "/quantity", "/stop/address", "/value/currency"],
        ),
        ({"status": "completed", "id": "x"}, ["/id", "/status"]),
        ({"quantity": "2"}, ["/quantity"]),
        ({"type": "delivery"}, ["/stop"]),
        ({"type": None}, ["/stop"]),
    ],
)
async def test_an_invalid_patch_is_refused_with_all_violations(
    actors: JobActors, patch: dict[str, Any], expected: list[str]
) -> None:
    job = await actors.order(actions=[WHOLE])

    answer = await actors.dispatch.patch(path(job, job["actions"][0]), patch)

    assert answer.status_code == 422, answer.text
    assert sorted(error["pointer"] for error in answer.json()["errors"]) == expected
    assert await actors.read(job) == job


async def test_only_some_types_have_a_stop(actors: JobActors) -> None:
    delivery, pickup = await actors.order(actions=[{}]), await actors.order(type="pickup", actions=[])

    for body in ({"stop": STOP}, {"stop": STOP, "type": "service"}):
        answer = await actors.dispatch.post(path(delivery), body)
        assert answer.status_code == 422
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/stop", "stop_misplaced")]
    refused = await actors.dispatch.patch(path(delivery, delivery["actions"][0]), {"stop": STOP})
    assert refused.json()["errors"][0]["code"] == "stop_misplaced"
    assert (await added(actors, delivery, stop=STOP, type="return"))["stop"]["name"] == "Depot 4"
    assert (await added(actors, pickup, stop=STOP))["type"] == "pickup"
    both = await actors.dispatch.patch(path(delivery, delivery["actions"][0]), {"stop": STOP, "type": "exchange"})
    assert both.status_code == 200


async def test_a_patch_without_a_change_writes_nothing(actors: JobActors) -> None:
    job = await actors.order(actions=[WHOLE])
    action = job["actions"][0]

    patches: list[dict[str, Any]] = [{}, {"quantity": 4}, {"stop": {}}, {"value": {"amount": 1250}}]
    for patch in patches:
        answer = await actors.dispatch.patch(path(job, action), patch)
        assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, action, '"1"')

    assert await actors.read(job) == job


@pytest.mark.parametrize("status", STATUSES)
async def test_actions_change_only_before_work_begins(actors: JobActors, status: str) -> None:
    job = await actors.job(status)
    action = job["actions"][0]
    attempts = [
        await actors.dispatch.patch(path(job, action), {"quantity": 9}),
        await actors.dispatch.post(path(job), {"sku": "late"}),
        await actors.dispatch.delete(path(job, action)),
    ]

    if status in ("staging", "new"):
        assert [answer.status_code for answer in attempts] == [200, 201, 204]
        assert [one["sku"] for one in (await actors.read(job))["actions"]] == ["late"]
    else:
        for answer in attempts:
            assert (answer.status_code, answer.json()["code"]) == (409, "not_editable")
            assert (answer.json()["fields"], answer.json()["current_status"]) == (["actions"], status)
        assert (await actors.dispatch.patch(path(job, action), {"quantity": 2})).status_code == 200
        assert await actors.read(job) == job


async def test_deleting_twice_is_the_same_as_once(actors: JobActors) -> None:
    job, other = await actors.order(actions=[{"sku": "A"}, {"sku": "B"}]), await actors.order()
    action = job["actions"][0]

    first = await actors.dispatch.delete(path(job, action))
    after = await actors.read(job)
    second = await actors.dispatch.delete(path(job, action))
    await actors.command(job, "start")
    third = await actors.dispatch.delete(path(job, action))

    assert [answer.status_code for answer in (first, second, third)] == [204] * 3
    assert ([one["sku"] for one in after["actions"]], after["version"]) == (["B"], 2)
    assert [entry["type"] for entry in await actors.history(job)] == ["job.created", "action.deleted", "job.started"]
    for absent in (path(job, {"id": new_id("act")}), path(other, action), path({"id": new_id("job")}, action)):
        assert (await actors.dispatch.delete(absent)).status_code == 404
    refused(await actors.dispatch.get(path(job, action)), 404, "action_not_found")
    assert (await actors.dispatch.patch(path(job, action), {})).json()["code"] == "action_not_found"


async def test_an_action_of_another_job_is_404(actors: JobActors) -> None:
    job, other = await actors.job("in_progress"), await actors.job("in_progress")
    action = job["actions"][0]

    for answer in (
        await actors.dispatch.get(path(other, action)),
        await actors.dispatch.patch(path(other, action), {"quantity": 1}),
        await actors.dispatch.post(path(other, action, "/outcome"), {"completed": 2}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "action_not_found")
    nowhere = {"id": new_id("job")}
    refused(await actors.dispatch.get(path(nowhere, action)), 404, "job_not_found")
    refused(await actors.dispatch.get(path(nowhere)), 404, "job_not_found")


async def test_a_merchant_changes_only_its_own_actions(actors: JobActors) -> None:
    job = await actors.order(actions=[{"sku": "A"}, {"sku": "B"}])
    action = job["actions"][0]
    own, other, session = (
        actors.merchant.api,
        (await actors.tenant.create_merchant()).api,
        await actors.merchant.session(),
    )

    async def attempts(api: Api) -> list[int]:
        return [
            (await api.get(path(job))).status_code,
            (await api.get(path(job, action))).status_code,
            (await api.patch(path(job, action), {"quantity": 5})).status_code,
            (await api.post(path(job), {})).status_code,
            (await api.post(path(job, action, "/outcome"), {"completed": 2})).status_code,
            (await api.delete(path(job, action))).status_code,
        ]

    assert await attempts(other) == [404, 404, 404, 404, 403, 404]
    assert await attempts(session) == [200, 200, 403, 403, 403, 403]
    assert (
        await attempts(await actors.tenant.create_user(permissions=["orders.actions.read"])) == [200, 200] + [403] * 4
    )
    assert await actors.read(job) == job
    assert await attempts(own) == [200, 200, 200, 201, 403, 204]


async def test_a_job_has_no_more_than_five_hundred_actions(actors: JobActors) -> None:
    job = await actors.order(actions=[{}] * 200)
    async with actors.tenant.service.database.transaction() as session:
        # The state after 299 more requests.
        await session.execute(_MORE_ACTIONS, {"job_id": to_uuid(job["id"])})

    answers = [await actors.dispatch.post(path(job), {}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 409, 409]
    assert (answers[1].json()["code"], answers[1].json()["actions_max"]) == ("too_many_actions", 500)
    full = await actors.read(job)
    assert [action["position"] for action in full["actions"]] == list(range(1, 501))
    copy = await actors.dispatch.post(f"/v1/jobs/{job['id']}/clone")
    assert (copy.status_code, len(copy.json()["actions"])) == (201, 500)
    assert (await actors.dispatch.delete(path(job, full["actions"][0]))).status_code == 204
    assert (await actors.dispatch.post(path(job), {})).status_code == 201


async def test_the_etag_is_that_of_the_action(actors: JobActors) -> None:
    job = await actors.order(actions=[{"sku": "A"}, {"sku": "B"}])
    first, second = job["actions"]
    await actors.dispatch.patch(path(job, first), {"quantity": 2})
    await actors.dispatch.patch(path(job, first), {"quantity": 3})

    read = await actors.dispatch.get(path(job, first))
    unchanged = await actors.dispatch.get(path(job, first), headers={"If-None-Match": read.headers["ETag"]})
    stale = await actors.dispatch.patch(path(job, first), {"quantity": 4}, headers={"If-Match": '"1"'})
    other = await actors.dispatch.patch(path(job, second), {"quantity": 4}, headers={"If-Match": '"1"'})

    assert (read.headers["ETag"], unchanged.status_code) == ('"3"', 304)
    assert (stale.status_code, stale.json()["current_version"]) == (412, 3)
    assert (other.status_code, other.headers["ETag"]) == (200, '"2"')
    assert (await actors.dispatch.delete(path(job, second), headers={"If-Match": '"1"'})).status_code == 412
    assert (await actors.read(job))["version"] == 4
    assert (await actors.dispatch.delete(path(job, second), headers={"If-Match": '"2"'})).status_code == 204


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({"completed": 3}, "completed"),
        ({"completed": 1, "incomplete": 2}, "incomplete"),
        ({"incomplete": 3}, "incomplete"),
        ({"completed": 2, "damaged": 1, "note": "Wet"}, "damaged"),
        ({"completed": 1, "incomplete": 1, "damaged": 1}, "damaged"),
    ],
)
async def test_an_outcome_decides_the_actions_status(actors: JobActors, outcome: dict[str, Any], status: str) -> None:
    job = await actors.job("in_progress", actions=[{"quantity": 3}])

    action = await actors.record_outcome(job, **outcome)

    assert (action["status"], action["version"]) == (status, 2)
    assert action["outcome"] == {"completed": 0, "incomplete": 0, "damaged": 0, "note": None, **outcome}
    assert (await actors.dispatch.read(path(job, action))) == action
    entry = (await actors.history(job))[-1]
    assert (entry["type"], entry["action_id"]) == ("action.outcome_recorded", action["id"])
    assert entry["changes"]["status"] == {"from": "undetermined", "to": status}


async def test_an_outcome_can_be_corrected_and_repeated(actors: JobActors) -> None:
    job = await actors.job("in_progress")
    first = await actors.record_outcome(job, completed=2, note="Done")

    again = await actors.record_outcome(job, completed=2, incomplete=0, damaged=0, note="Done")
    corrected = await actors.record_outcome(job, completed=1, damaged=1)
    await actors.command(job, "complete")
    late = await actors.dispatch.post(path(job, first, "/outcome"), {"completed": 1, "damaged": 1})
    too_late = await actors.dispatch.post(path(job, first, "/outcome"), {"completed": 2})

    assert again == first
    assert (corrected["status"], corrected["version"], corrected["outcome"]["note"]) == ("damaged", 3, None)
    assert (late.status_code, late.json()) == (200, corrected)
    assert (too_late.status_code, too_late.json()["current_status"]) == (409, "partially_completed")
    assert len(await actors.history(job)) == 5


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "in_progress"])
async def test_outcomes_are_recorded_only_while_work_is_in_progress(actors: JobActors, status: str) -> None:
    job = await actors.job(status)

    answer = await actors.dispatch.post(path(job, job["actions"][0], "/outcome"), {"damaged": 1, "completed": 1})

    assert (answer.status_code, answer.json()["requested"]) == (409, "record_outcome")
    assert answer.json()["allowed_transitions"] == job["allowed_transitions"]
    assert await actors.read(job) == job


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({}, [("/completed", "outcome_sum")]),
        ({"completed": 1}, [("/completed", "outcome_sum")]),
        ({"completed": 2, "damaged": 1}, [("/completed", "outcome_sum")]),
        (
            {"completed": -1, "incomplete": "1", "damaged": 1.5, "lost": 1},
            [
                ("/completed", "greater_than_equal"),
                ("/damaged", "int_type"),
                ("/incomplete", "int_type"),
                ("/lost", "extra_forbidden"),
            ],
        ),
        ({"completed": 2, "note": "x" * 1001}, [("/note", "string_too_long")]),
    ],
)
async def test_an_invalid_outcome_is_refused(
    actors: JobActors, outcome: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    job = await actors.job("in_progress")

    answer = await actors.dispatch.post(path(job, job["actions"][0], "/outcome"), outcome)

    assert answer.status_code == 422
    assert sorted((error["pointer"], error["code"]) for error in answer.json()["errors"]) == expected
    assert await actors.read(job) == job


async def test_changes_of_actions_are_published_with_the_job(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.order(actions=[])
    action = await added(actors, job, quantity=2)
    await actors.dispatch.patch(path(job, action), {"sku": "S-1", "quantity": 3})
    doomed = await added(actors, job)
    await actors.dispatch.delete(path(job, doomed))

    events = await service.published(tenant, 5)

    assert [(event.type, event.sequence) for event in events] == [
        ("job.created", 1),
        ("action.created", 2),
        ("action.updated", 3),
        ("action.created", 4),
        ("action.deleted", 5),
    ]
    assert [event.data.action_id for event in events] == [None, action["id"], action["id"], doomed["id"], doomed["id"]]
    assert events[2].data.changed_fields == ["quantity", "sku"]
    assert [len(event.data.job.actions) for event in events] == [0, 1, 1, 2, 1]
    assert events[2].data.job.actions[0].sku == "S-1"


async def test_concurrently_added_actions_are_all_stored(actors: JobActors) -> None:
    job = await actors.order(actions=[])

    answers = await asyncio.gather(*(actors.dispatch.post(path(job), {"sku": f"S-{place}"}) for place in range(10)))

    assert {answer.status_code for answer in answers} == {201}
    after = await actors.read(job)
    assert sorted(action["sku"] for action in after["actions"]) == sorted(f"S-{place}" for place in range(10))
    assert [action["position"] for action in after["actions"]] == list(range(1, 11))
    assert after["version"] == 11


async def test_a_concurrent_outcome_and_command_run_one_after_the_other(actors: JobActors) -> None:
    for _ in range(8):
        job = await actors.job("in_progress")
        outcome = path(job, job["actions"][0], "/outcome")

        settled, completed = await asyncio.gather(
            actors.dispatch.post(outcome, {"completed": 1, "damaged": 1}), actors.command(job, "complete")
        )

        after = await actors.read(job)
        assert completed.status_code == 200
        # The outcome was recorded before the end of the job, or it was too late and changed nothing.
        expected = ("partially_completed", "damaged") if settled.status_code == 200 else ("completed", "completed")
        assert settled.status_code in (200, 409)
        assert (after["status"], after["actions"][0]["status"]) == expected
