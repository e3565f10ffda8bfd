"""Wiring only: one suite of real processes with the console for all tests of a worker, one browser, one company with one of everything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from deploy.devstack.forks import Forker
from tests.harness.console import ConsoleStack, Stock, Visitor, chromium, stock_up
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver, run_receiver
from tests.harness.stack import BackingStack, new_prefix
from tests.harness.suite import CHEAP_HASHES, Suite

SHOWN_WITHIN_MS = 30_000
"""On a busy machine a page may take its time."""
expect.set_options(timeout=SHOWN_WITHIN_MS)


@pytest.fixture(scope="session")
async def box() -> AsyncIterator[Mailbox]:
    """Takes the suite's mail."""
    async with mailbox() as running:
        yield running


@pytest.fixture(scope="session")
async def suite(
    backing: BackingStack, box: Mailbox, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    mail = {"IDENTITY_SMTP_URL": box.url, "IDENTITY_CONSOLE_BASE_URL": "https://console.waybill.test"}
    environment = {**CHEAP_HASHES, **mail, "WAYBILL_KAFKA_PREFIX": new_prefix()}
    running = await asyncio.to_thread(Suite, backing, tmp_path_factory.mktemp("suite"), environment, forker)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
async def console(
    suite: Suite, backing: BackingStack, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ConsoleStack]:
    running = await asyncio.to_thread(ConsoleStack, suite, backing, tmp_path_factory.mktemp("console"), forker)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
async def hooks() -> AsyncIterator[Receiver]:
    """Takes the webhooks of the company."""
    async with run_receiver() as running:
        yield running


@pytest.fixture(scope="session")
async def stock(suite: Suite, hooks: Receiver) -> Stock:
    """A company with one of everything; tests leave it as it is."""
    return await stock_up(suite, hooks.url("/hooks"))


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> Tenant:
    """A company whose records the tests of a module change."""
    return await suite.create_tenant()


@pytest.fixture(scope="module")
async def owner(console: ConsoleStack, tenant: Tenant) -> Visitor:
    return await console.signed_in(tenant.id, tenant.owner_email)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running
