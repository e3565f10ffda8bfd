"""Wiring only: a suite on servers of its own, because these tests kill them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.stack import BackingStack
from tests.harness.suite import CHEAP_HASHES, Suite


@pytest.fixture(scope="module")
async def suite(
    fragile: BackingStack, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    running = await asyncio.to_thread(Suite, fragile, tmp_path_factory.mktemp("suite"), CHEAP_HASHES, forker)
    await running.start()
    yield running
    await running.stop()
