"""What the tests of the container images need: a real server on a free port, and a health check run against it."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import web

CHECK_TIMEOUT_SECONDS = 30.0


class HealthServer:
    """A server that answers one path with `status`, and every other one with 404."""

    def __init__(self, path: str) -> None:
        self.status = 200
        application = web.Application()
        application.router.add_get(path, self._answer)
        self._runner = web.AppRunner(application)

    async def __aenter__(self) -> "HealthServer":
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._runner.cleanup()

    async def run(self, check: Sequence[str], environment: Mapping[str, str]) -> int:
        """The exit status of a container's health check (`["CMD", …]`), run here with this environment alone."""
        assert check[0] == "CMD"
        # Proxies are for the way out; a check that asked one would always fail.
        proxied = {"http_proxy": "http://127.0.0.1:9", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"}
        process = await asyncio.create_subprocess_exec(
            *check[1:], env={**proxied, **environment}, stderr=asyncio.subprocess.DEVNULL
        )
        return await asyncio.wait_for(process.wait(), CHECK_TIMEOUT_SECONDS)

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status)
