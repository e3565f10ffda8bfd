"""Migrations create the tables that the models describe, and keep what earlier ones hold."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import text

from jobs.imports import IMPORT
from jobs.metadata import Base
from shared.ids import new_id, to_uuid
from shared.postgres.database import Database
from shared.postgres.migrations import migrate
from shared.tasks import store
from tests.harness.schema_drift import drift
from tests.harness.stack import BackingStack

BEFORE_TASKS = "0008"
_IMPORT = """
    INSERT INTO imports (id, tenant_id, livemode, status, format, dry_run, via, created_by, columns, bytes_total, bytes_done, next_line,
        rows_done, jobs_created, rows_failed, created_at, touched_at, turn_at, failures)
    VALUES (:id, :tenant, true, :status, 'csv', false, 'session', 'usr', '{}', 1, 0, 1, 0, 0, 0, :at, :at, :at, 3)
"""


async def test_migrations_and_models_agree(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "jobs")

    # A second run finds its work done.
    for _ in range(2):
        await asyncio.to_thread(migrate, "jobs", url)

    assert await asyncio.to_thread(drift, url, Base.metadata) == []


async def test_imports_of_before_that_have_not_ended_get_a_task(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "jobs")
    await asyncio.to_thread(migrate, "jobs", url, BEFORE_TASKS)
    database = Database(url, application_name="migrations")
    at = datetime(2026, 11, 1, tzinfo=UTC)
    ids = {status: new_id("imp") for status in ("uploading", "queued", "running", "succeeded", "cancelled")}
    async with database.transaction() as session:
        for status, import_id in ids.items():
            values = {"id": to_uuid(import_id), "tenant": to_uuid(new_id("ten")), "status": status, "at": at}
            await session.execute(text(_IMPORT), values)

    await asyncio.to_thread(migrate, "jobs", url)

    async with database.reading() as session:
        found = await store.list_tasks(session, kind=IMPORT, only_set_aside=False, rows_max=10)
    await database.close()
    assert {(row["key"], row["due_at"]) for row in found} == {(ids["queued"], at), (ids["running"], at)}
