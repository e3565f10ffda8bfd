"""Wiring only: a suite on servers of its own, because these tests kill them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.identity import CONSOLE
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.stack import BackingStack
from tests.harness.suite import CHEAP_HASHES, Suite


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
