"""Fixtures: one identity service for all tests of identity; each test has its own tenants."""

from collections.abc import AsyncIterator

import pytest

from tests.harness import identity as harness
from tests.harness.identity import Identity, Tenant
from tests.harness.stack import BackingStack


@pytest.fixture(scope="session")
async def identity(backing: BackingStack) -> AsyncIterator[Identity]:
    async with harness.running(backing) as service:
        yield service


@pytest.fixture
async def tenant(identity: Identity) -> Tenant:
    return await identity.new_tenant()
