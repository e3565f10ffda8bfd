"""Fixtures: one identity service for all tests of identity; each test has its own tenants."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.identity import CONSOLE, Identity, running
from tests.harness.mailbox import Mailbox, mailbox
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack


@pytest.fixture(scope="package")
async def identity(backing: BackingStack) -> AsyncIterator[Identity]:
    async with running(backing) as service:
        yield service


@pytest.fixture
async def tenant(identity: Identity) -> Tenant:
    return await identity.create_tenant()


@pytest.fixture(scope="package")
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as running_box:
        yield running_box


@pytest.fixture(scope="package")
async def mailing(backing: BackingStack, box: Mailbox) -> AsyncIterator[Identity]:
    """Identity with a mail server."""
    async with running(backing, smtp_url=box.url, console_base_url=CONSOLE) as service:
        yield service


@pytest.fixture
async def company(mailing: Identity) -> Tenant:
    """A tenant whose people get mail."""
    return await mailing.create_tenant()
