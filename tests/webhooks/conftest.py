"""Wiring only: a database with a delivery harness, and the whole service for one module of tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.harness.bodies import secret_32
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, migrated
from tests.harness.webhooks import DeliveryHarness, Tenant, Webhooks, running


@pytest.fixture(scope="session")
async def database_url(backing: BackingStack) -> str:
    """A database of webhooks without a relay."""
    return await asyncio.to_thread(migrated, backing, "webhooks")


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[DeliveryHarness]:
    """A tenant in that database, with an empty queue."""
    database = open_database(database_url)
    harness = DeliveryHarness(database, f"1:{secret_32()}")
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(
            "TRUNCATE endpoints, events, deliveries, delivery_due, flights, attempts, outbox"
        )
    yield harness
    await database.close()


@pytest.fixture(scope="module")
async def service(backing: BackingStack) -> AsyncIterator[Webhooks]:
    """The service with a database of its own. It ends with the module: its consumer group must not share events with another."""
    async with running(backing) as webhooks:
        yield webhooks


@pytest.fixture
async def tenant(service: Webhooks) -> Tenant:
    """A tenant that no other test uses."""
    return await service.create_tenant()
