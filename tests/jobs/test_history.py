"""The history of a job: every change once, in order, with actor, fields and values."""

from datetime import datetime
from typing import Any

import pytest

from shared.ids import new_id
from tests.harness.client import Api
from tests.harness.job_states import JobActors, job_actors
from tests.harness.jobs import Jobs


@pytest.fixture(scope="module")
async def actors(service: Jobs) -> JobActors:
    """Actors of one tenant, for tests that use one job each."""
    return await job_actors(await service.create_tenant())


async def entries(api: Api, job: dict[str, Any], *, limit: int = 200) -> list[dict[str, Any]]:
    """The whole history, read page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await api.get(f"/v1/jobs/{job['id']}/events?limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_a_history_says_who_changed_what(actors: JobActors) -> None:
    job = await actors.order(review=True, priority=1, contact={"first_name": "Ada", "email": "ada@example.com"})
    merchant_api = actors.merchant.api
    await merchant_api.patch(f"/v1/jobs/{job['id']}", {"priority": 5, "contact": {"email": None}})
    await actors.command(job, "accept")
    await actors.command(job, "start")
    await actors.record_outcome(job, completed=2)

    history = await entries(merchant_api, job)

    assert {entry["object"] for entry in history} == {"job_event"}
    assert [(entry["sequence"], entry["type"]) for entry in history] == [
        (1, "job.created"),
        (2, "job.updated"),
        (3, "job.updated"),
        (4, "job.started"),
        (5, "action.outcome_recorded"),
    ]
    dispatcher = history[2]["actor"]
    assert dispatcher.startswith("usr_")
    assert [entry["actor"] for entry in history] == [actors.merchant.id] * 2 + [dispatcher] * 3
    assert [entry["changed_fields"] for entry in history] == [
        [],
        ["contact", "priority"],
        ["status"],
        ["status"],
        ["outcome", "status"],
    ]
    patched = history[1]["changes"]
    assert patched["priority"] == {"from": 1, "to": 5}
    assert (patched["contact"]["from"]["email"], patched["contact"]["to"]["email"]) == ("ada@example.com", None)
    assert history[2]["changes"] == {"status": {"from": "staging", "to": "new"}}
    assert [entry["action_id"] for entry in history] == [None] * 4 + [job["actions"][0]["id"]]
    times = [datetime.fromisoformat(entry["created_at"]) for entry in history]
    assert times == sorted(times)
    assert times[0] == datetime.fromisoformat(job["created_at"])
    assert len({entry["id"] for entry in history}) == 5


async def test_a_deleted_actions_last_state_is_kept(actors: JobActors) -> None:
    job = await actors.order(actions=[{"sku": "A"}, {"sku": "B"}])
    gone = job["actions"][0]
    await actors.dispatch.delete(f"/v1/jobs/{job['id']}/actions/{gone['id']}")

    entry = (await entries(actors.dispatch, job))[-1]

    assert (entry["type"], entry["action_id"]) == ("action.deleted", gone["id"])
    assert entry["changes"]["actions"]["to"] == []
    assert [(action["id"], action["sku"]) for action in entry["changes"]["actions"]["from"]] == [(gone["id"], "A")]


async def test_a_history_is_read_page_by_page_while_it_grows(actors: JobActors) -> None:
    job = await actors.order()
    for priority in range(1, 6):
        await actors.dispatch.patch(f"/v1/jobs/{job['id']}", {"priority": priority})
    first = await actors.dispatch.read(f"/v1/jobs/{job['id']}/events?limit=4")
    await actors.dispatch.patch(f"/v1/jobs/{job['id']}", {"priority": 6})

    rest = await actors.dispatch.read(f"/v1/jobs/{job['id']}/events?cursor={first['next_cursor']}")

    assert [entry["sequence"] for entry in first["data"] + rest["data"]] == [1, 2, 3, 4, 5, 6, 7]
    assert rest["has_more"] is False
    for limit in (1, 3, 7):
        assert [entry["sequence"] for entry in await entries(actors.dispatch, job, limit=limit)] == list(range(1, 8))


async def test_a_history_is_shown_to_those_who_see_the_job(service: Jobs, actors: JobActors) -> None:
    job = await actors.order()
    reader = await actors.tenant.create_user(permissions=["orders.jobs.read"])
    stranger = await service.create_tenant()

    for api in (actors.merchant.api, await actors.merchant.session(), reader, service.platform(actors.tenant)):
        assert [entry["type"] for entry in await entries(api, job)] == ["job.created"]
    path = f"/v1/jobs/{job['id']}/events"
    for api, status in (
        ((await actors.tenant.create_merchant()).api, 404),
        (service.platform(stranger), 404),
        (await stranger.create_user("owner"), 404),
        (await actors.tenant.create_user(permissions=["orders.actions", "orders.dispatch"]), 403),
    ):
        assert (await api.get(path)).status_code == status
    absent = await actors.dispatch.get(f"/v1/jobs/{new_id('job')}/events")
    assert (absent.status_code, absent.json()["code"]) == (404, "job_not_found")


async def test_a_cursor_is_valid_only_for_the_history_of_one_job(actors: JobActors) -> None:
    job, other = await actors.job("in_progress"), await actors.job("in_progress")
    cursor = (await actors.dispatch.read(f"/v1/jobs/{job['id']}/events?limit=1"))["next_cursor"]

    answer = await actors.dispatch.get(f"/v1/jobs/{other['id']}/events?limit=1&cursor={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_filters_differ")
