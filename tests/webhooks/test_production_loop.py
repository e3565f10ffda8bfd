"""All tests of the HTTP client run on uvloop, the event loop of production, which calls protocols a little differently."""

import asyncio

import pytest
import uvloop

pytestmark = pytest.mark.production_loop


async def test_every_attempt_is_made_on_the_loop_of_production() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
