"""Wiring only: one suite of real processes for all end-to-end tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack, new_prefix
from tests.harness.suite import CHEAP_HASHES, Suite


@pytest.fixture(scope="package")
async def suite(
    backing: BackingStack, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    environment = {**CHEAP_HASHES, "WAYBILL_KAFKA_PREFIX": new_prefix()}
    running = await asyncio.to_thread(Suite, backing, tmp_path_factory.mktemp("suite"), environment, forker)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def tenant(suite: Suite) -> Tenant:
    return await suite.create_tenant()
