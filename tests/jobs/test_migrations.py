"""Migrations create the tables that the models describe."""

import asyncio

from jobs.metadata import Base
from shared.postgres.migrations import migrate
from tests.harness.schema_drift import drift
from tests.harness.stack import BackingStack


async def test_migrations_and_models_agree(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "jobs")

    # A second run finds its work done.
    for _ in range(2):
        await asyncio.to_thread(migrate, "jobs", url)

    assert await asyncio.to_thread(drift, url, Base.metadata) == []
