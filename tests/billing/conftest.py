"""Fixtures: a migrated database, and a running billing service."""

from collections.abc import AsyncIterator

import pytest

from shared.postgres.database import Database
from tests.harness.billing import Billing, migrated, open_database, running, settings_for
from tests.harness.stack import BackingStack
from tests.harness.suite import own_topics


@pytest.fixture(scope="session")
async def timers_url(backing: BackingStack) -> str:
    """The URL of a database of billing whose outbox nobody relays."""
    return await migrated(backing)


@pytest.fixture
async def database(timers_url: str) -> AsyncIterator[Database]:
    """That database, with the connections of one replica."""
    database = open_database(timers_url)
    yield database
    await database.close()


# Per module: another running service of the same name would share the consumer groups.
@pytest.fixture(scope="module")
async def billing(backing: BackingStack) -> AsyncIterator[Billing]:
    """Billing in all its roles, with PostgreSQL and Kafka."""
    prefix = await own_topics(backing)
    settings = settings_for(await migrated(backing), backing.kafka_bootstrap, kafka_prefix=prefix)
    async with running(settings) as service:
        yield service
