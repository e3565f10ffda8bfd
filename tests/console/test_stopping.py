"""A console that is about to stop waits for no stream, however quiet it is and whoever opened it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from deploy.devstack.forks import Forker
from tests.harness.console import ConsoleStack
from tests.harness.event_streams import EVENT_STREAM
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack
from tests.harness.suite import STOP_SECONDS, Suite
from tests.harness.valve import Valve, valve


@pytest.fixture
async def webhooks(suite: Suite) -> AsyncIterator[Valve]:
    async with valve(suite.urls["webhooks"]) as running:
        yield running


async def test_a_console_stops_at_once_although_streams_are_open_or_have_still_to_begin(
    suite: Suite,
    tenant: Tenant,
    webhooks: Valve,
    backing: BackingStack,
    forker: Forker | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    patience = {"WAYBILL_SHUTDOWN_SECONDS": str(3 * STOP_SECONDS), "CONSOLE_WEBHOOKS_URL": webhooks.url}
    home = tmp_path_factory.mktemp("console")
    console = await asyncio.to_thread(ConsoleStack, suite, backing, home, forker, patience)
    await console.start()
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    credentials = {**tenant.owner.headers, **EVENT_STREAM}

    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(owner.client.stream("GET", "/live/jobs")),
            await stack.enter_async_context(owner.client.stream("GET", "/v1/job-notices", headers=credentials)),
        ]
        reading = [asyncio.create_task(_read(stream)) for stream in streams]
        await webhooks.turn("silent")
        beginning = asyncio.create_task(owner.get("/live/webhooks"))
        await webhooks.asked()
        await console.stop()
        await asyncio.gather(*reading, return_exceptions=True)
        (begun,) = await asyncio.gather(beginning, return_exceptions=True)

    assert [stream.status_code for stream in streams] == [200] * 2
    assert isinstance(begun, httpx.TransportError) or (isinstance(begun, httpx.Response) and begun.status_code == 503)
    assert "stopped" in console.log


async def _read(stream: httpx.Response) -> None:
    async for _ in stream.aiter_bytes():
        pass
