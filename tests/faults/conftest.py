"""Wiring only: a suite on servers of its own, because these tests kill them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.identity import CONSOLE
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.stack import BackingStack, start_private_stack
from tests.harness.suite import CHEAP_HASHES, Suite


@pytest.fixture(scope="package")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackingStack]:
    """PostgreSQL and Kafka as the suite runs them, to be killed."""
    stack = start_private_stack(tmp_path_factory.mktemp("fragile"))
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as running_box:
        yield running_box


@pytest.fixture(scope="module")
async def suite(
    fragile: BackingStack, box: Mailbox, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    environment = {**CHEAP_HASHES, "IDENTITY_SMTP_URL": box.url, "IDENTITY_CONSOLE_BASE_URL": CONSOLE}
    running = await asyncio.to_thread(Suite, fragile, tmp_path_factory.mktemp("suite"), environment, forker)
    await running.start()
    yield running
    await running.stop()
