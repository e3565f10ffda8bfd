"""One command for all jobs that match: counted first, run in the background, told job by job what was refused."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.app import DESCRIPTION
from jobs.bulk_commands.operations import BULK
from shared.audit import Actor
from shared.bulk import Bulk, BulkRow, BulkWorker
from shared.bulk.worker import STEP_ROWS
from shared.events import billing, identity
from shared.service.composition import Service
from shared.tasks import TaskKind
from tests.harness.bodies import smallest_job
from tests.harness.client import Api, document, pointers, refused
from tests.harness.job_states import JobActors, job_actors
from tests.harness.jobs import Jobs, Tenant, running
from tests.harness.stack import BackingStack
from tests.harness.tasks import replicas
from tests.harness.waiting import eventually

PATH = "/v1/job-commands"
PROJECTS = (identity.TOPIC, billing.TOPIC)


@pytest.fixture
async def actors(tenant: Tenant) -> JobActors:
    return await job_actors(tenant)


async def command(caller: Api, name: str, filters: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A bulk command, once it has ended."""
    made = document(await caller.post(PATH, {"command": name, "filters": filters, **more}), 202)
    return await ended(caller, made["id"])


async def ended(caller: Api, command_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = await caller.read(f"{PATH}/{command_id}")
        return found if found["status"] != "running" else None

    return await eventually(look, what="the bulk command has ended")


def numbers(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("status", "matched", "changed", "unchanged", "refused"))


async def test_what_matches_is_counted_then_changed_and_refusals_are_named(tenant: Tenant, actors: JobActors) -> None:
    chosen = {status: await actors.job(status, tags=["tour-7"]) for status in ("new", "staging", "cancelled")}
    done = await actors.job("completed", tags=["tour-7"])
    beside = await actors.job("new", tags=["tour-8"])
    before = {job["id"]: await actors.read(job) for job in (*chosen.values(), done, beside)}

    dry = await command(tenant.owner, "cancel", {"tag": ["tour-7"]}, reason="The van broke down", dry_run=True)
    untouched = {job["id"]: await actors.read(job) for job in (*chosen.values(), done, beside)}
    run = await command(tenant.owner, "cancel", {"tag": ["tour-7"]}, reason="The van broke down")
    again = await command(tenant.owner, "cancel", {"tag": ["tour-7"]}, reason="The van broke down")

    assert numbers(dry) == numbers(run) == ("completed", 4, 2, 1, 1)
    assert untouched == before
    assert dry["refusals"] == run["refusals"]
    assert [(one["id"], one["code"]) for one in run["refusals"]] == [(done["id"], "status_conflict")]
    assert numbers(again) == ("completed", 4, 0, 3, 1)
    assert run["filters"] == {"tag": ["tour-7"]}
    for job in chosen.values():
        after = await actors.read(job)
        assert after["status"] == "cancelled"
    assert (await actors.read(chosen["new"]))["status_reason"] == "The van broke down"
    assert (await actors.read(beside))["status"] == "new"
    assert [one["type"] for one in await actors.history(chosen["new"])] == ["job.created", "job.cancelled"]


async def test_every_matching_job_is_changed_once_however_many_steps_it_takes(
    tenant: Tenant, actors: JobActors
) -> None:
    count = 2 * STEP_ROWS + 20
    await create_many(tenant, actors, count)
    key = {"Idempotency-Key": "once"}
    body = {"command": "delete", "filters": {"status": ["new"]}}

    made = [document(await tenant.owner.post(PATH, body, headers=key), 202) for _ in range(2)]
    run = await ended(tenant.owner, made[0]["id"])

    assert made[0]["id"] == made[1]["id"]
    assert numbers(run) == ("completed", count, count, 0, 0)
    assert await tenant.owner.listed(status="new") == []
    assert len(await tenant.owner.listed(deleted="true")) == count


async def test_what_a_cancelled_command_has_changed_stays_and_nothing_follows(
    tenant: Tenant, actors: JobActors
) -> None:
    await create_many(tenant, actors, 3 * STEP_ROWS)
    made = document(await tenant.owner.post(PATH, {"command": "start", "filters": {}}), 202)
    one = f"{PATH}/{made['id']}"

    first = await tenant.owner.post(f"{one}/cancel")
    if first.status_code == 409:
        refused(first, 409, "bulk_command_ended")
    stopped = await tenant.owner.read(one)
    later = await command(tenant.owner, "accept", {})

    assert len(await tenant.owner.listed(status="in_progress")) == stopped["changed"]
    assert later["status"] == "completed"
    assert await tenant.owner.read(one) == stopped
    if stopped["status"] == "cancelled":
        assert document(await tenant.owner.post(f"{one}/cancel")) == stopped
    assert (await tenant.owner.post(f"{PATH}/{later['id']}/cancel")).status_code == 409


async def test_each_command_needs_its_own_permission(service: Jobs, tenant: Tenant, actors: JobActors) -> None:
    await actors.job("new")
    canceller = await tenant.create_staff("orders.jobs.read", "orders.jobs.cancel")
    only_cancels = await tenant.create_staff("orders.jobs.cancel")
    stranger = (await service.create_tenant()).owner
    made = await command(canceller, "cancel", {"status": ["in_progress"]})

    for name, needed in (("delete", "orders.jobs.delete"), ("start", "orders.dispatch")):
        problem = refused(await canceller.post(PATH, {"command": name, "filters": {}}), 403, "permission_missing")
        assert problem["required"] == [needed]
    refused(await only_cancels.post(PATH, {"command": "cancel", "filters": {}}), 403, "permission_missing")
    refused(await actors.merchant.api.post(PATH, {"command": "cancel", "filters": {}}), 403, "credential_not_admitted")
    reader = await tenant.create_staff("orders.jobs.read")
    for path in (f"{PATH}/{made['id']}", f"{PATH}/{made['id']}/cancel"):
        method = "POST" if path.endswith("cancel") else "GET"
        refused(await reader.request(method, path), 403, "permission_missing")
        refused(await stranger.request(method, path), 404, "bulk_command_not_found")


async def test_who_may_not_dispatch_cancels_what_has_not_begun(tenant: Tenant, actors: JobActors) -> None:
    new, begun = await actors.job("new"), await actors.job("in_progress")
    canceller = await tenant.create_staff("orders.jobs.read", "orders.jobs.cancel")

    run = await command(canceller, "cancel", {})

    assert numbers(run) == ("completed", 2, 1, 0, 1)
    assert [one["id"] for one in run["refusals"]] == [begun["id"]]
    assert (await actors.read(new))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"command": "explode"}, "/command"),
        ({"filters": None}, "/filters"),
        ({"filters": {"colour": "red"}}, "/filters/colour"),
        ({"filters": {"status": ["lost"]}}, "/filters/status/0"),
        ({"filters": {"deleted": True}}, "/filters/deleted"),
        ({"filters": {"sort": "created_at"}}, "/filters/sort"),
        ({"dry_run": "no"}, "/dry_run"),
    ],
)
async def test_an_impossible_command_is_refused_at_its_place(
    tenant: Tenant, change: dict[str, Any], pointer: str
) -> None:
    answer = await tenant.owner.post(PATH, {"command": "cancel", "filters": {}, **change})

    assert pointers(refused(answer, 422, "invalid")) == [pointer]


async def create_many(tenant: Tenant, actors: JobActors, count: int) -> None:
    items = [smallest_job(merchant_id=actors.merchant.id) for _ in range(count)]
    made = document(await tenant.owner.post("/v1/jobs/bulk", {"items": items}), 207)
    assert made["created"] == count


# -- step by step --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def without_workers(backing: BackingStack) -> AsyncIterator[Jobs]:
    """The service in a process that takes no steps."""
    async with running(backing, roles="api,consumers,relay") as jobs:
        yield jobs


def steps_of(service: Jobs, bulk: Bulk = BULK) -> TaskKind:
    """A worker of that service's bulk commands."""
    return BulkWorker(
        service.database, Service("jobs", service.settings, description=DESCRIPTION, projects=PROJECTS).access, bulk
    ).task_kind()


async def ordered(service: Jobs, count: int) -> tuple[Tenant, str]:
    """A tenant with jobs, and the path of the command that cancels them all and has not begun."""
    tenant = await service.create_tenant()
    await create_many(tenant, await job_actors(tenant), count)
    made = document(await tenant.owner.post(PATH, {"command": "cancel", "filters": {}}), 202)
    assert (await tenant.owner.read(f"{PATH}/{made['id']}"))["status"] == "running"
    return tenant, made["id"]


async def test_a_step_that_dies_has_changed_nothing_and_is_taken_again(without_workers: Jobs) -> None:
    service = without_workers
    tenant, command_id = await ordered(service, 3)
    applied: list[str] = []

    async def die(session: AsyncSession, actor: Actor, row: BulkRow, job_id: str) -> None:
        await BULK.apply(session, actor, row, job_id)
        applied.append(job_id)
        if len(applied) == 2:
            raise ConnectionError("killed")

    async with replicas(service.settings.database_url, steps_of(service, replace(BULK, apply=die))) as (dying,):
        await dying.until("waybill_task_attempts_total", 1, kind=BULK.name, result="failed")
    between = await tenant.owner.read(f"{PATH}/{command_id}")
    untouched = await tenant.owner.listed(status="new")
    async with service.database.transaction() as session:
        await session.execute(text("UPDATE tasks SET next_at = now()"))
    async with replicas(service.settings.database_url, steps_of(service)):
        run = await ended(tenant.owner, command_id)

    assert numbers(between) == ("running", 0, 0, 0, 0)
    assert len(untouched) == 3
    assert numbers(run) == ("completed", 3, 3, 0, 0)


async def test_a_command_ends_when_who_asked_for_it_may_not_run_it_any_more(without_workers: Jobs) -> None:
    service = without_workers
    tenant, command_id = await ordered(service, 1)

    await tenant.end_trial_at(datetime.now(UTC) - timedelta(minutes=1))
    async with replicas(service.settings.database_url, steps_of(service)) as (worker,):
        await worker.until("waybill_task_attempts_total", 1, kind=BULK.name, result="recorded")
    await tenant.end_trial_at(datetime.now(UTC) + timedelta(days=1))
    run = await eventually(lambda: read_again(tenant, command_id), what="the tenant may use the API again")

    assert (run["status"], run["failure"], run["changed"]) == ("failed", "subscription_required", 0)
    assert len(await tenant.owner.listed(status="new")) == 1


async def read_again(tenant: Tenant, command_id: str) -> dict[str, Any] | None:
    answer = await tenant.owner.get(f"{PATH}/{command_id}")
    return document(answer) if answer.status_code == 200 else None
