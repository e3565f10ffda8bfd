"""Fixtures: the jobs service, one per module of tests."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.jobs import Jobs, Tenant, running
from tests.harness.stack import BackingStack


@pytest.fixture(scope="module")
async def service(backing: BackingStack) -> AsyncIterator[Jobs]:
    """The service with its own database. It stops with the module, so that its consumer group shares no events with another."""
    async with running(backing) as jobs:
        yield jobs


@pytest.fixture
async def tenant(service: Jobs) -> Tenant:
    """A tenant for one test."""
    return await service.create_tenant()
