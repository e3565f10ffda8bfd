"""Stripe's own `stripe-mock`: it checks requests against Stripe's specification, and answers with fixed examples. It remembers nothing.

It is a program in Go. Where neither it nor Go is at hand, it is not asked, and the end of the run says so.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from deploy.devstack.processes import free_ports
from tests.harness import runtimes
from tests.harness.payments import served
from tests.harness.waiting import eventually

NEWER_NAMES = {"allowed_payment_method_types": "payment_method_types"}
"""Parameters of the library's version of the API that have other names in the specification of the mock, which is a version older."""


@dataclass
class StripeMock:
    """The running server."""

    url: str
    attached: bool = True
    """Whether its payment method belongs to a customer."""
    answered: list[tuple[str, int, str]] = field(default_factory=list)
    """Each request by its method and path, with the status and the text of the answer."""


@asynccontextmanager
async def stripe_mock() -> AsyncIterator[StripeMock]:
    """The server, behind a front that notes its answers."""
    program = await asyncio.to_thread(runtimes.stripe_mock)
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        program, "-http-port", str(port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    found = StripeMock("")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/")).status_code > 0
                except httpx.TransportError:
                    return False

            await eventually(answers, what="stripe-mock answers")
            async with served(_front(client, found)) as found.url:
                yield found
    finally:
        process.terminate()
        await process.wait()


def _front(client: httpx.AsyncClient, found: StripeMock) -> web.Application:
    async def pass_on(request: web.Request) -> web.Response:
        content = await request.text()
        for newer, name in NEWER_NAMES.items():
            content = content.replace(newer, name)
        names = ("Authorization", "Content-Type", "Idempotency-Key")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        answer = await client.request(request.method, request.path_qs, headers=headers, content=content)
        found.answered.append((f"{request.method} {request.path}", answer.status_code, answer.text))
        body = answer.text
        if found.attached and request.path.startswith("/v1/payment_methods/"):
            body = body.replace('"customer":null', '"customer":"cus_1"')
        return web.Response(status=answer.status_code, text=body, content_type="application/json")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", pass_on)
    return application
