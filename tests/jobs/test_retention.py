"""Retention of history and deleted jobs, without blocking writers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobs.retention import worker
from shared.ids import to_uuid
from shared.postgres import partitions
from shared.postgres.database import Database
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import Merchant
from tests.harness.waiting import eventually

LONG_AGO = datetime(2024, 1, 15, tzinfo=UTC)
BETWEEN = datetime(2025, 1, 15, tzinfo=UTC)


async def tidy(service: Jobs, now: datetime, *, history_months: int = 24, deleted_days: int = 90) -> bool:
    """Run retention once, as a replica does at this instant."""
    return await worker.run_once(service.database, now, history_months=history_months, deleted_days=deleted_days)


async def tidied(service: Jobs, now: datetime, **more: int) -> None:
    """Run retention until no step is postponed."""

    async def done() -> bool:
        return await tidy(service, now, **more)

    await eventually(done, what="nothing is left for later")


async def months(service: Jobs) -> set[str]:
    """The months of the existing partitions of history."""
    statement = text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'job_history'::regclass"
    )
    async with service.database.reading() as session:
        return {name.removeprefix("job_history_") for name in (await session.execute(statement)).scalars()}


async def execute(service: Jobs, statement: str, **values: Any) -> None:
    async with service.database.transaction() as session:
        await session.execute(text(statement), values)


async def count(service: Jobs, table: str, job: dict[str, Any]) -> int:
    """The number of rows of a table that belong to a job."""
    column = "id" if table == "jobs" else "job_id"
    async with service.database.reading() as session:
        statement = text(f"SELECT count(*) FROM {table} WHERE {column} = :job_id")
        return int((await session.execute(statement, {"job_id": to_uuid(job["id"])})).scalar_one())


async def happened(service: Jobs, job: dict[str, Any], at: datetime) -> None:
    """Set the instant of all history of a job."""
    await execute(
        service, "UPDATE job_history SET occurred_at = :at WHERE job_id = :job_id", at=at, job_id=to_uuid(job["id"])
    )


async def history(api: Api, job: dict[str, Any]) -> list[str]:
    """The types of a job's events."""
    answer = await api.get(f"/v1/jobs/{job['id']}/events")
    assert answer.status_code == 200, answer.text
    return [line["type"] for line in answer.json()["data"]]


async def deleted(merchant: Merchant, service: Jobs, *, days_ago: float, **more: Any) -> dict[str, Any]:
    """Create a job and set its deletion instant."""
    job = await merchant.api.create_job(smallest_job(**more))
    assert (await merchant.api.request("DELETE", f"/v1/jobs/{job['id']}")).status_code == 204
    at = datetime.now(UTC) - timedelta(days=days_ago)
    for table, column in (("jobs", "id"), ("actions", "job_id")):
        await execute(
            service,
            f"UPDATE {table} SET deleted_at = :at WHERE {column} = :job_id AND deleted_at IS NOT NULL",
            at=at,
            job_id=to_uuid(job["id"]),
        )
    return job


async def test_writers_find_this_month_and_the_next_three(service: Jobs, tenant: Tenant) -> None:
    job = await (await tenant.create_merchant()).api.create_job()
    month = job["created_at"][:7].replace("-", "_")

    assert len([name for name in await months(service) if name >= month and name != "other"]) == 4
    assert await count(service, f"job_history_{month}", job) == 1
    assert await count(service, "job_history_other", job) == 0


async def test_the_worker_repeats_its_work(service: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("PERIOD_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(worker, pause, 0.05)
    newest = max(name for name in await months(service) if name != "other")
    keep = asyncio.ensure_future(worker.retaining(service.database, history_months=24, deleted_days=90)())

    async def again() -> bool:
        return newest in await months(service)

    try:
        for _ in range(2):
            await execute(service, f"DROP TABLE IF EXISTS job_history_{newest}")
            await eventually(again, what="the month is there again")
    finally:
        keep.cancel()
        await asyncio.wait({keep})


async def test_months_are_made_ahead_and_old_ones_dropped(service: Jobs, tenant: Tenant) -> None:
    before = await months(service)

    await tidied(service, LONG_AGO)
    assert await months(service) - before == {"2024_01", "2024_02", "2024_03", "2024_04"}
    # Twelve full months are kept beside the current month.
    await tidied(service, BETWEEN, history_months=12)
    assert {name for name in await months(service) if name < "2024_05"} == {"2024_01", "2024_02", "2024_03", "2024_04"}
    await tidied(service, datetime(2025, 2, 1, tzinfo=UTC), history_months=12)
    assert {name for name in await months(service) if name < "2024_05"} == {"2024_02", "2024_03", "2024_04"}
    await tidied(service, datetime.now(UTC), history_months=1)

    assert await months(service) == before


async def test_the_rest_of_a_jobs_history_is_answered_when_its_old_months_are_gone(
    service: Jobs, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    await tidied(service, LONG_AGO)
    job, kept = await merchant.api.create_job(), await merchant.api.create_job()
    await happened(service, job, LONG_AGO)
    changed = await merchant.api.request("PATCH", f"/v1/jobs/{job['id']}", json={"instructions": "Ring twice"})
    assert changed.status_code == 200
    assert await history(merchant.api, job) == ["job.created", "job.updated"]

    await tidied(service, datetime.now(UTC), history_months=12)

    assert await history(merchant.api, job) == ["job.updated"]
    assert await history(merchant.api, kept) == ["job.created"]
    assert (await merchant.api.read(f"/v1/jobs/{job['id']}"))["version"] == 2


async def test_history_without_a_partition_moves_into_the_one_that_is_made(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    early, late = await merchant.api.create_job(), await merchant.api.create_job()
    first, last = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    await happened(service, early, first)
    await happened(service, late, last - timedelta(microseconds=1))
    assert await count(service, "job_history_other", early) == 1

    await tidied(service, LONG_AGO)

    for job in (early, late):
        assert await count(service, "job_history_2024_02", job) == 1
        assert await history(merchant.api, job) == ["job.created"]
    await tidied(service, datetime.now(UTC), history_months=1)


async def test_a_month_too_full_to_be_moved_stays_until_it_is_old(
    service: Jobs, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await tenant.create_merchant()
    jobs = [await merchant.api.create_job() for _ in range(3)]
    for job in jobs:
        await happened(service, job, LONG_AGO)
    monkeypatch.setattr(partitions, "MOVED_ROWS_MAX", 2)
    monkeypatch.setattr(partitions, "DELETED_ROWS_MAX", 2)

    await tidied(service, LONG_AGO)
    assert "2024_01" not in await months(service)
    assert "2024_02" in await months(service)
    assert [await history(merchant.api, job) for job in jobs] == [["job.created"]] * 3
    await tidied(service, datetime.now(UTC), history_months=1)

    assert [await history(merchant.api, job) for job in jobs] == [[]] * 3


@pytest.mark.parametrize("query", ["SELECT count(*) FROM job_history", "UPDATE job_history SET actor = actor"])
async def test_a_long_transaction_makes_retention_wait_and_nobody_else(
    service: Jobs, tenant: Tenant, query: str
) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()
    await tidied(service, LONG_AGO)
    before = await months(service)
    # A writer waits as long as retention waits for its locks; with the timeout of other transactions writers would fail.
    patient = Database(
        service.settings.database_url, application_name="tests", statement_timeout_ms=60_000, lock_timeout_ms=60_000
    )

    async with service.database.transaction() as session:
        await session.execute(text(query))
        waiting = asyncio.create_task(worker.run_once(patient, datetime.now(UTC), history_months=1, deleted_days=90))
        while not waiting.done():
            await merchant.api.create_job()
        assert await waiting is False
        assert await months(service) == before

    await patient.close()
    await tidied(service, datetime.now(UTC), history_months=1)
    assert "2024_01" not in await months(service)


async def test_replicas_share_the_work(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    jobs = [await deleted(merchant, service, days_ago=91) for _ in range(5)]

    for now in (LONG_AGO, datetime.now(UTC)):

        async def done(now: datetime = now) -> bool:
            return any(await asyncio.gather(*(tidy(service, now, history_months=1) for _ in range(4))))

        await eventually(done, what="one of them has done everything")

    assert "2024_01" not in await months(service)
    assert [await count(service, "jobs", job) for job in jobs] == [0] * 5


async def test_deleted_jobs_are_purged_with_their_actions_and_history(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    actions = [{"sku": "A"}, {"sku": "B"}]
    old = [await deleted(merchant, service, days_ago=91, actions=actions) for _ in range(worker.PURGED_JOBS_MAX + 1)]
    young = await deleted(merchant, service, days_ago=89, actions=actions)
    kept = await merchant.api.create_job(smallest_job(actions=actions))

    await tidied(service, datetime.now(UTC))

    for table in ("jobs", "actions", "job_history"):
        assert [await count(service, table, job) for job in old] == [0] * len(old)
        assert await count(service, table, young) > 0
    restored = await merchant.api.post(f"/v1/jobs/{young['id']}/restore")
    assert (restored.status_code, len(restored.json()["actions"])) == (200, 2)
    assert (await merchant.api.read(f"/v1/jobs/{kept['id']}")) == kept
    assert (await merchant.api.post(f"/v1/jobs/{old[0]['id']}/restore")).status_code == 404


async def test_a_deleted_job_that_is_being_restored_is_left_alone(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = await deleted(merchant, service, days_ago=91, actions=[{"sku": "A"}])

    async with service.database.transaction() as session:
        await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": to_uuid(job["id"])})
        await tidied(service, datetime.now(UTC))

    restored = await merchant.api.post(f"/v1/jobs/{job['id']}/restore")
    assert (restored.status_code, len(restored.json()["actions"])) == (200, 1)


async def test_an_action_deleted_by_itself_is_purged_too(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = await merchant.api.create_job(smallest_job(actions=[{"sku": "A"}, {"sku": "B"}, {"sku": "C"}]))
    for action, days in ((job["actions"][0], 91), (job["actions"][1], 89)):
        path = f"/v1/jobs/{job['id']}/actions/{action['id']}"
        assert (await merchant.api.request("DELETE", path)).status_code == 204
        at = datetime.now(UTC) - timedelta(days=days)
        await execute(service, "UPDATE actions SET deleted_at = :at WHERE id = :id", at=at, id=to_uuid(action["id"]))

    await tidied(service, datetime.now(UTC))

    assert await count(service, "actions", job) == 2
    assert [one["sku"] for one in (await merchant.api.read(f"/v1/jobs/{job['id']}"))["actions"]] == ["C"]
