"""Wiring for the transport's tests: a plumbed database and a topic for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.database import Database
from tests.support.stack import BackingStack
from tests.support.transport import new_topic, plain_logs, plumbed_database


@pytest.fixture(scope="session", autouse=True)
def readable_logs() -> Iterator[None]:
    with plain_logs():
        yield


@pytest.fixture
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    async with plumbed_database(backing) as database:
        yield database


@pytest.fixture
async def topic(backing: BackingStack) -> str:
    return await new_topic(backing)
