"""Wiring only: the jobs service for one module of tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.jobs import Jobs, Tenant, running
from tests.support.stack import BackingStack


@pytest.fixture(scope="module")
async def service(backing: BackingStack) -> AsyncIterator[Jobs]:
    """The service with a database of its own. It ends with the module: its consumer group must not share facts with another."""
    async with running(backing) as jobs:
        yield jobs


@pytest.fixture
async def tenant(service: Jobs) -> Tenant:
    """A tenant that no other test uses."""
    return await service.tenant()
