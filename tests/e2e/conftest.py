"""Wiring only: one suite of real processes for all end-to-end tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.stack import BackingStack
from tests.support.suite import Suite, Tenant


@pytest.fixture(scope="package")
async def suite(backing: BackingStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    running = Suite(backing, tmp_path_factory.mktemp("suite"))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def tenant(suite: Suite) -> Tenant:
    return await suite.new_tenant()
