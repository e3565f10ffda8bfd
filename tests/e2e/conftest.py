"""Wiring only: one suite of real processes for all end-to-end tests."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.payments import FAKE_SECRET, FakeServer, fake_server
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack, new_prefix
from tests.harness.suite import CHEAP_HASHES, Suite


@pytest.fixture(scope="package")
async def box() -> AsyncIterator[Mailbox]:
    """Takes the suite's mail."""
    async with mailbox() as running:
        yield running


@pytest.fixture(scope="package")
async def payments() -> AsyncIterator[FakeServer]:
    """Takes the suite's payments, and no money."""
    async with fake_server() as running:
        yield running


@pytest.fixture(scope="package")
async def suite(
    backing: BackingStack,
    box: Mailbox,
    payments: FakeServer,
    forker: Forker | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Suite]:
    provider = {
        "BILLING_PAYMENT_PROVIDER": "fake",
        "BILLING_FAKE_PROVIDER_URL": payments.url,
        "BILLING_FAKE_PROVIDER_SECRET": FAKE_SECRET,
    }
    mail = {"IDENTITY_SMTP_URL": box.url, "IDENTITY_CONSOLE_BASE_URL": "https://console.waybill.test"}
    environment = {**CHEAP_HASHES, **mail, **provider, "WAYBILL_KAFKA_PREFIX": new_prefix()}
    running = await asyncio.to_thread(Suite, backing, tmp_path_factory.mktemp("suite"), environment, forker)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def tenant(suite: Suite) -> Tenant:
    return await suite.create_tenant()
