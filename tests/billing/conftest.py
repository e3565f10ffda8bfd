"""Fixtures: a migrated database, and a running billing service."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.postgres.database import Database
from tests.harness.billing import Billing, running
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, migrated


@pytest.fixture(scope="session")
async def billing_url(backing: BackingStack) -> str:
    """The URL of a database of billing whose outbox nobody relays."""
    return await asyncio.to_thread(migrated, backing, "billing")


@pytest.fixture
async def database(billing_url: str) -> AsyncIterator[Database]:
    """That database, with the connections of one replica."""
    database = open_database(billing_url, pool_size=4)
    yield database
    await database.close()


# Per module: another running service of the same name would share the consumer groups.
@pytest.fixture(scope="module")
async def billing(backing: BackingStack) -> AsyncIterator[Billing]:
    """Billing in all its roles, with PostgreSQL and Kafka."""
    async with running(backing) as service:
        yield service
