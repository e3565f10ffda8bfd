"""Fixtures: one identity service for all tests of identity; each test has its own tenants."""

from collections.abc import AsyncIterator

import pytest

from tests.support import identity as support
from tests.support.identity import Identity, Tenant
from tests.support.stack import BackingStack


@pytest.fixture(scope="session")
async def identity(backing: BackingStack) -> AsyncIterator[Identity]:
    async with support.running(backing) as service:
        yield service


@pytest.fixture
async def tenant(identity: Identity) -> Tenant:
    return await identity.new_tenant()
