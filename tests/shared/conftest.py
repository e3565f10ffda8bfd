"""Wiring: a database with the shared tables and a topic for each test of the transport, an application for each test of the edge."""

from collections.abc import AsyncIterator

import pytest

from shared.postgres.database import Database
from tests.harness.edge_app import EdgeTestApp, edge_database, run_edge_app
from tests.harness.stack import BackingStack
from tests.harness.transport import new_topic, shared_database


@pytest.fixture
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    async with shared_database(backing) as database:
        yield database


@pytest.fixture
async def topic(backing: BackingStack) -> str:
    return await new_topic(backing)


@pytest.fixture(scope="module")
async def database_url(backing: BackingStack) -> str:
    """The database of the edge's application."""
    return await edge_database(backing)


@pytest.fixture
async def edge(database_url: str) -> AsyncIterator[EdgeTestApp]:
    async with run_edge_app(database_url) as running:
        yield running
