"""Reindexing: rows with outdated tokens are found again; nothing else of them changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from jobs.job_store.tables import OUTDATED_TOKENS
from jobs.search import reindex, worker
from shared.ids import to_uuid
from tests.harness.bodies import smallest_job
from tests.harness.jobs import Jobs, Tenant, running
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

NUMBERED: dict[str, Any] = {"reference_id": "ORDER-77120043", "actions": [{"sku": "CHAIR-4711-B"}]}


@pytest.fixture(scope="module")
async def service(backing: BackingStack) -> AsyncIterator[Jobs]:
    """The service without its worker: the tests reindex themselves."""
    async with running(backing, roles="api,consumers,relay") as jobs:
        yield jobs


async def execute(service: Jobs, statement: str, **values: Any) -> None:
    async with service.database.transaction() as session:
        await session.execute(text(statement), values)


async def make_outdated(service: Jobs, job: dict[str, Any]) -> None:
    """Give a job and its actions tokens of an older tokenizer version."""
    for table, column in (("jobs", "id"), ("actions", "job_id")):
        await execute(
            service,
            f"UPDATE {table} SET terms = array_to_tsvector(ARRAY['w:order']), parts = 'order' WHERE {column} = :job_id",
            job_id=to_uuid(job["id"]),
        )


async def outdated_rows(service: Jobs) -> int:
    """The number of outdated rows."""
    async with service.database.reading() as session:
        counts = [
            (await session.execute(text(f"SELECT count(*) FROM {table} WHERE {OUTDATED_TOKENS}"))).scalar_one()
            for table in ("jobs", "actions")
        ]
    return sum(counts)


async def reindex_all(service: Jobs) -> None:
    while True:
        async with service.database.transaction() as session:
            if not await reindex.reindex_batch(session):
                return


async def test_an_outdated_job_is_found_after_reindexing(service: Jobs, tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    job = await api.create_job(smallest_job(**NUMBERED))
    await make_outdated(service, job)
    assert await api.listed(q="712004") == []

    await reindex_all(service)

    assert await outdated_rows(service) == 0
    assert await api.listed(q="712004") == [job["id"]]
    assert await api.listed(sku="chair-4711-b") == [job["id"]]
    assert await api.listed("/v1/actions", q="4711") == [job["actions"][0]["id"]]
    assert (await api.read(f"/v1/jobs/{job['id']}")) == job


async def test_reindexing_covers_more_than_one_batch_and_deleted_jobs(service: Jobs, tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    jobs = [
        await api.create_job(smallest_job(**{**NUMBERED, "reference_id": f"A{n}"}))
        for n in range(reindex.REINDEX_JOBS_MAX + 1)
    ]
    assert (await api.request("DELETE", f"/v1/jobs/{jobs[0]['id']}")).status_code == 204
    for job in jobs:
        await make_outdated(service, job)

    await reindex_all(service)

    assert await outdated_rows(service) == 0
    assert len(await api.listed(sku="CHAIR-4711-B")) == reindex.REINDEX_JOBS_MAX
    assert await api.listed(sku="CHAIR-4711-B", deleted="true") == [jobs[0]["id"]]


async def test_reindexing_skips_locked_jobs(service: Jobs, tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    held, free = [await api.create_job(smallest_job(**{**NUMBERED, "reference_id": name})) for name in ("held", "free")]
    for job in (held, free):
        await make_outdated(service, job)

    async with service.database.transaction() as other:
        await other.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": to_uuid(held["id"])})
        # Waiting for the lock would end in a lock timeout.
        async with service.database.transaction() as session:
            await reindex.reindex_batch(session)
        assert await api.listed(sku="chair-4711-b") == [free["id"]]

    await reindex_all(service)
    assert await api.listed(sku="chair-4711-b") == [free["id"], held["id"]]


async def test_the_background_part_reindexes(service: Jobs, tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    job = await api.create_job(smallest_job(**NUMBERED))
    await make_outdated(service, job)
    part = asyncio.ensure_future(worker.reindexing(service.database)())

    async def found() -> bool:
        return bool(await api.listed(q="712004") == [job["id"]])

    try:
        await eventually(found, what="the job is found by a part of its reference")
    finally:
        part.cancel()
        await asyncio.wait({part})
