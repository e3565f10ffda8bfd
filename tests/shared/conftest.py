"""Wiring for the transport's tests: a database with the shared tables and a topic for each test."""

from collections.abc import AsyncIterator

import pytest

from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import new_topic, shared_database


@pytest.fixture
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    async with shared_database(backing) as database:
        yield database


@pytest.fixture
async def topic(backing: BackingStack) -> str:
    return await new_topic(backing)
