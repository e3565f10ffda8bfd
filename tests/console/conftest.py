"""Wiring only: one suite of real processes with the console for this whole package, one browser, one company with one of everything."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from playwright.async_api import Browser, expect

from deploy.devstack.forks import Forker
from deploy.devstack.processes import free_ports
from tests.harness.console import ConsoleStack, Stock, Visitor, chromium, stock_up
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.payments import FAKE_SECRET, FakeServer, fake_server
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver, run_receiver
from tests.harness.stack import BackingStack, new_prefix
from tests.harness.suite import CHEAP_HASHES, Suite

SHOWN_WITHIN_MS = 30_000
"""On a busy machine a page may take its time."""
expect.set_options(timeout=SHOWN_WITHIN_MS)


@pytest.fixture(scope="package")
async def box() -> AsyncIterator[Mailbox]:
    """Takes the suite's mail."""
    async with mailbox() as running:
        yield running


@pytest.fixture(scope="package")
async def payments() -> AsyncIterator[FakeServer]:
    """Takes the suite's payments, and no money; cards are given on its pages."""
    async with fake_server() as running:
        yield running


@pytest.fixture(scope="package")
def console_port() -> int:
    """Where the console will be: pages of the payment provider lead back to it."""
    (port,) = free_ports(1)
    return port


@pytest.fixture(scope="package")
async def suite(
    backing: BackingStack,
    box: Mailbox,
    payments: FakeServer,
    console_port: int,
    forker: Forker | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Suite]:
    mail = {"IDENTITY_SMTP_URL": box.url, "IDENTITY_CONSOLE_BASE_URL": "https://console.waybill.test"}
    provider = {
        "BILLING_PAYMENT_PROVIDER": "fake",
        "BILLING_FAKE_PROVIDER_URL": payments.url,
        "BILLING_FAKE_PROVIDER_SECRET": FAKE_SECRET,
        "BILLING_CHECKOUT_RETURN_URL": f"http://127.0.0.1:{console_port}/billing",
    }
    environment = {**CHEAP_HASHES, **mail, **provider, "WAYBILL_KAFKA_PREFIX": new_prefix()}
    running = await asyncio.to_thread(Suite, backing, tmp_path_factory.mktemp("suite"), environment, forker)

    async def take(body: bytes, headers: Mapping[str, str]) -> int:
        url = f"{running.urls['billing']}/v1/billing/providers/fake/notifications"
        return (await running.client.post(url, content=body, headers=dict(headers))).status_code

    await running.start()
    payments.take = take
    yield running
    payments.take = None
    await running.stop()


@pytest.fixture(scope="package")
async def console(
    suite: Suite,
    backing: BackingStack,
    console_port: int,
    forker: Forker | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ConsoleStack]:
    home = tmp_path_factory.mktemp("console")
    running = await asyncio.to_thread(ConsoleStack, suite, backing, home, forker, port=console_port)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="package")
async def hooks() -> AsyncIterator[Receiver]:
    """Takes the webhooks of the company."""
    async with run_receiver() as running:
        yield running


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running
