"""Commands: the effect of each command in each status, also with concurrent commands."""

import asyncio
from typing import Any

import pytest

from shared.ids import new_id
from tests.harness.job_states import COMMANDS, EXPECTED_TRANSITIONS, SAME, STATUSES, JobActors, job_actors
from tests.harness.jobs import Jobs, Tenant

PUBLISHES = {
    "accept": "job.updated",
    "assign": "job.updated",
    "start": "job.started",
    "complete": "job.completed",
    "fail": "job.incomplete",
    "report-damage": "job.damaged",
    "resolve": "job.resolved",
    "cancel": "job.cancelled",
}


@pytest.fixture(scope="module")
async def actors(service: Jobs) -> JobActors:
    """Actors of one tenant, for tests that use one job each."""
    return await job_actors(await service.create_tenant())


@pytest.mark.parametrize("status", STATUSES)
async def test_each_command_does_in_each_status_what_the_table_says(actors: JobActors, status: str) -> None:
    for command in COMMANDS:
        before = await actors.job(status)
        history_before = await actors.history(before)

        answer = await actors.command(before, command)

        after = await actors.read(before)
        expected = EXPECTED_TRANSITIONS[status].get(command)
        if expected is None:
            refusal = answer.json()
            assert (answer.status_code, refusal["code"]) == (409, "status_conflict"), (status, command)
            assert refusal["current_status"] == status
            assert refusal["requested"] == command.replace("-", "_")
            assert refusal["allowed_transitions"] == before["allowed_transitions"]
        else:
            assert answer.status_code == 200, (status, command, answer.text)
            assert answer.json() == after
            assert answer.headers["ETag"] == f'"{after["version"]}"'
        if expected in (None, SAME):
            assert after == before
            assert await actors.history(before) == history_before
        else:
            assert (after["status"], after["version"]) == (expected, before["version"] + 1)
            assert (after["status_changed_at"] != before["status_changed_at"]) == (expected != status)
            assert [entry["type"] for entry in await actors.history(before)][len(history_before) :] == [
                PUBLISHES[command]
            ]


async def test_the_expected_table_has_all_statuses_and_commands() -> None:
    assert set(EXPECTED_TRANSITIONS) == set(STATUSES)
    assert {command for row in EXPECTED_TRANSITIONS.values() for command in row} == set(COMMANDS) == set(PUBLISHES)


async def test_allowed_transitions_are_the_statuses_that_commands_reach(actors: JobActors) -> None:
    for status in STATUSES:
        reached = {result for result in EXPECTED_TRANSITIONS[status].values() if result not in (SAME, status)}
        assert set((await actors.job(status))["allowed_transitions"]) == reached


async def test_a_reason_is_stored_in_the_job_and_its_history(actors: JobActors) -> None:
    for status, command in (("in_progress", "fail"), ("in_progress", "report-damage"), ("new", "cancel")):
        job = await actors.job(status)
        answer = await actors.command(job, command, json={"reason": " Nobody was there "})
        assert answer.json()["status_reason"] == "Nobody was there"
        changes = (await actors.history(job))[-1]["changes"]
        assert changes["status_reason"] == {"from": None, "to": "Nobody was there"}

    failed = await actors.job("incomplete")
    assert (await actors.command(failed, "resolve", json={"reason": "Refunded"})).json()["status_reason"] == "Refunded"


async def test_resolving_without_a_reason_keeps_the_one_there_is(actors: JobActors) -> None:
    job = await actors.job("in_progress")
    await actors.command(job, "fail", json={"reason": "Nobody was there"})

    assert (await actors.command(job, "resolve")).json()["status_reason"] == "Nobody was there"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"headers": {"Content-Type": "application/json"}},
        {"headers": {"Content-Type": "text/plain"}},
        {"json": {}},
        {"json": {"reason": None}},
        {"json": None, "content": b"null", "headers": {"Content-Type": "application/json"}},
    ],
)
async def test_an_optional_body_can_be_omitted(actors: JobActors, options: dict[str, Any]) -> None:
    answer = await actors.command(await actors.job("new"), "cancel", **options)

    assert (answer.status_code, answer.json()["status_reason"]) == (200, None)


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("cancel", {"content": b"why", "headers": {"Content-Type": "text/plain"}}, (415, None)),
        ("cancel", {"content": b"{", "headers": {"Content-Type": "application/json"}}, (400, None)),
        ("cancel", {"json": {"reason": "x" * 1001}}, (422, "/reason")),
        ("cancel", {"json": {"because": "x"}}, (422, "/because")),
        ("cancel", {"json": []}, (422, "")),
        ("assign", {"json": {}}, (422, "/assigned_to")),
        ("assign", {"json": {"assigned_to": "  "}}, (422, "/assigned_to")),
        ("assign", {"json": {"assigned_to": "x" * 201}}, (422, "/assigned_to")),
        ("assign", {"content": b""}, (415, None)),
    ],
)
async def test_a_body_must_be_valid(
    actors: JobActors, command: str, options: dict[str, Any], expected: tuple[int, str | None]
) -> None:
    job = await actors.job("new")

    answer = await actors.command(job, command, **options)

    assert (answer.status_code, answer.json().get("errors", [{}])[0].get("pointer")) == expected
    assert await actors.read(job) == job


async def test_assigning_the_same_again_changes_nothing(actors: JobActors) -> None:
    job = await actors.job("new")
    first = (await actors.command(job, "assign", json={"assigned_to": "Ada"})).json()

    again = await actors.command(job, "assign", json={"assigned_to": "Ada"})
    other = await actors.command(job, "assign", json={"assigned_to": "Grace"})

    assert (again.status_code, again.json()) == (200, first)
    assert (other.json()["assigned_to"], other.json()["version"]) == ("Grace", first["version"] + 1)


async def test_complete_sets_missing_outcomes(actors: JobActors) -> None:
    job = await actors.order(actions=[{"quantity": 3}, {"quantity": 2}])
    await actors.command(job, "start")
    recorded = await actors.record_outcome(job, 0, completed=3, note="Signed by Ada")

    done = (await actors.command(job, "complete")).json()

    assert done["status"] == "completed"
    assert done["actions"][0] == recorded
    assert (done["actions"][1]["status"], done["actions"][1]["version"]) == ("completed", 2)
    assert done["actions"][1]["outcome"] == {"completed": 2, "incomplete": 0, "damaged": 0, "note": None}


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "completed"),
        ([{"completed": 2}], "completed"),
        ([{"completed": 1, "incomplete": 1}], "partially_completed"),
        ([{"completed": 1, "damaged": 1}], "partially_completed"),
        ([{"incomplete": 2}, {"completed": 2}], "partially_completed"),
        ([{"damaged": 2}, None], "partially_completed"),
        ([None, None], "completed"),
    ],
)
async def test_the_status_after_complete_follows_from_the_outcomes(
    actors: JobActors, outcomes: list[dict[str, int] | None], status: str
) -> None:
    job = await actors.order(actions=[{"quantity": 2}] * len(outcomes))
    await actors.command(job, "start")
    for place, outcome in enumerate(outcomes):
        if outcome is not None:
            await actors.record_outcome(job, place, **outcome)

    assert (await actors.command(job, "complete")).json()["status"] == status
    assert (await actors.history(job))[-1]["type"] == f"job.{status}"


async def test_a_job_of_which_nothing_was_done_is_not_completed(actors: JobActors) -> None:
    job = await actors.order(actions=[{"quantity": 2}, {"quantity": 1}])
    await actors.command(job, "start")
    await actors.record_outcome(job, 0, incomplete=2)
    await actors.record_outcome(job, 1, damaged=1)
    before = await actors.read(job)

    refused = await actors.command(job, "complete", headers={"Idempotency-Key": "done"})

    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_completed")
    assert refused.json()["current_status"] == "in_progress"
    assert await actors.read(job) == before


@pytest.mark.parametrize(("command", "fate"), [("fail", "incomplete"), ("report-damage", "damaged")])
async def test_fail_and_report_damage_set_only_missing_outcomes(actors: JobActors, command: str, fate: str) -> None:
    job = await actors.order(actions=[{"quantity": 2}, {"quantity": 5}])
    await actors.command(job, "start")
    recorded = await actors.record_outcome(job, 0, completed=2)

    ended = (await actors.command(job, command)).json()

    assert ended["status"] == fate
    assert ended["actions"][0] == recorded
    assert ended["actions"][1]["status"] == fate
    assert ended["actions"][1]["outcome"][fate] == 5
    changes = (await actors.history(job))[-1]["changes"]["actions"]
    assert [action["id"] for action in changes["to"]] == [job["actions"][1]["id"]]


async def test_a_merchant_cancels_until_work_begins(actors: JobActors) -> None:
    merchant_api = actors.merchant.api
    for status in ("staging", "new"):
        answer = await actors.command(await actors.job(status), "cancel", by=merchant_api)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")

    refused = await actors.command(await actors.job("in_progress"), "cancel", by=merchant_api)

    assert (refused.status_code, refused.json()["code"]) == (409, "status_conflict")
    assert refused.json()["detail"] == "only dispatch can cancel a job in progress"


async def test_staff_that_may_only_cancel_does_not_stop_work_in_progress(actors: JobActors) -> None:
    canceller = await actors.tenant.create_user(permissions=["orders.jobs.cancel"])
    both = await actors.tenant.create_user(permissions=["orders.jobs.cancel", "orders.dispatch"])
    job = await actors.job("in_progress")

    assert (await actors.command(job, "cancel", by=canceller)).status_code == 409
    assert (await actors.command(job, "start", by=canceller)).status_code == 403
    assert (await actors.command(job, "cancel", by=both)).status_code == 200


async def test_commands_of_dispatch_are_closed_to_merchants(actors: JobActors) -> None:
    job = await actors.job("new")

    for api in (actors.merchant.api, await actors.merchant.session()):
        for command in COMMANDS:
            if command != "cancel" or api.headers != actors.merchant.api.headers:
                answer = await actors.command(job, command, by=api)
                assert (answer.status_code, answer.json()["code"]) == (403, "credential_not_admitted")
    assert await actors.read(job) == job


async def test_a_command_on_a_job_of_another_is_404(service: Jobs, actors: JobActors) -> None:
    job = await actors.job("new")
    stranger = await service.create_tenant()
    other = await actors.tenant.create_merchant()

    for command in COMMANDS:
        for strange in (await stranger.create_user("owner"), service.platform(stranger)):
            assert (await actors.command(job, command, by=strange)).status_code == 404
        assert (await actors.command({"id": new_id("job")}, command)).json()["code"] == "job_not_found"
    assert (await actors.command(job, "cancel", by=other.api)).json()["code"] == "job_not_found"
    assert await actors.read(job) == job


async def test_a_command_can_be_bound_to_a_version(actors: JobActors) -> None:
    job = await actors.job("new")

    stale = await actors.command(job, "start", headers={"If-Match": '"7"'})
    # The order of refusals: the version (412) before the status (409).
    both = await actors.command(job, "resolve", headers={"If-Match": '"7"'})
    started = await actors.command(job, "start", headers={"If-Match": '"1"'})

    assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
    assert both.status_code == 412
    assert (started.status_code, started.headers["ETag"]) == (200, '"2"')


async def test_a_repeated_key_gets_the_first_answer(actors: JobActors) -> None:
    job = await actors.job("new")
    key = {"Idempotency-Key": "start-1"}
    first = await actors.command(job, "start", headers=key)
    await actors.command(job, "complete")

    again = await actors.command(job, "start", headers=key)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json(), again.headers["ETag"]) == (first.json(), first.headers["ETag"])
    assert (await actors.read(job))["status"] == "completed"


async def test_every_status_change_is_published_with_the_job(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.job("staging")
    for command in ("accept", "assign", "start"):
        await actors.command(job, command)
    await actors.record_outcome(job, completed=1, damaged=1, note="One box was wet")
    await actors.command(job, "complete")
    await actors.command(job, "resolve", json={"reason": "Credited"})

    events = await service.published(tenant, 7)

    assert [event.type for event in events] == [
        "job.created",
        "job.updated",
        "job.updated",
        "job.started",
        "action.outcome_recorded",
        "job.partially_completed",
        "job.resolved",
    ]
    assert [event.sequence for event in events] == list(range(1, 8))
    history = await actors.history(job)
    assert [(event.id, event.type) for event in events] == [(entry["id"], entry["type"]) for entry in history]
    for event, entry in zip(events, history, strict=True):
        assert (event.data.sequence, event.data.job.version) == (event.sequence, event.sequence)
        assert (event.data.changed_fields, event.data.action_id) == (entry["changed_fields"], entry["action_id"])
        assert event.data.location_ids == [tenant.default_location]
    last = events[-1].data
    assert (last.job.status, last.job.status_reason, last.changed_fields) == (
        "resolved",
        "Credited",
        ["status", "status_reason"],
    )
    recorded = events[4].data
    assert recorded.action_id == job["actions"][0]["id"]
    assert recorded.changed_fields == ["outcome", "status"]
    assert recorded.job.actions[0].outcome.note == "One box was wet"


async def test_of_different_commands_at_once_exactly_one_wins(actors: JobActors) -> None:
    ends = {"complete": "completed", "fail": "incomplete", "report-damage": "damaged", "cancel": "cancelled"}
    for _ in range(12):
        job = await actors.job("in_progress")

        answers = await asyncio.gather(*(actors.command(job, command) for command in ends))

        won = [command for command, answer in zip(ends, answers, strict=True) if answer.status_code == 200]
        assert len(won) == 1
        after = await actors.read(job)
        assert after["status"] == ends[won[0]]
        for answer in answers:
            assert answer.status_code == 200 or (
                answer.status_code == 409 and answer.json()["current_status"] == after["status"]
            )
        assert [entry["sequence"] for entry in await actors.history(job)] == [1, 2, 3]


async def test_the_same_command_at_once_is_done_once(actors: JobActors) -> None:
    for _ in range(5):
        job = await actors.job("in_progress")

        answers = await asyncio.gather(*(actors.command(job, "complete") for _ in range(8)))

        assert [answer.status_code for answer in answers] == [200] * 8
        assert {answer.headers["ETag"] for answer in answers} == {'"3"'}
        assert [entry["type"] for entry in await actors.history(job)] == ["job.created", "job.started", "job.completed"]
