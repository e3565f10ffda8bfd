"""Fixtures: one identity service for all tests of identity; each test has its own tenants."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.identity import Identity, running
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack


@pytest.fixture(scope="session")
async def identity(backing: BackingStack) -> AsyncIterator[Identity]:
    async with running(backing) as service:
        yield service


@pytest.fixture
async def tenant(identity: Identity) -> Tenant:
    return await identity.create_tenant()
