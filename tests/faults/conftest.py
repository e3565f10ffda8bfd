"""Wiring only: a suite on servers of its own, because these tests kill them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.stack import BackingStack, start_private_stack
from tests.support.suite import Suite


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackingStack]:
    stack = start_private_stack(tmp_path_factory.mktemp("fragile"))
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
async def suite(fragile: BackingStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    running = Suite(fragile, tmp_path_factory.mktemp("suite"))
    await running.start()
    yield running
    await running.stop()
