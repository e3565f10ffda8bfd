"""Payment providers as real servers: the one of the private stack, and one with Stripe's API, a process of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
from aiohttp import web

from billing.providers import Charger
from billing.providers.fake import FakeProvider
from billing.providers.stripe import StripeProvider
from deploy.devstack.payments import Notifier, create_provider
from deploy.devstack.processes import free_ports
from tests.harness.servers import listening
from tests.harness.waiting import eventually

FAKE_SECRET = "of-the-fake-provider"
STRIPE_KEY = "sk_test_12345"
ANSWER_SECONDS = 60.0
"""On a busy machine a server in the tests' own process answers late."""
_NUMBERS = {"pays": "4242424242424242", "declines": "4000000000000341"}


class ProviderServer(Protocol):
    """A provider with its server, on which cards are given without a page."""

    provider: Charger

    async def card(self, behaviour: str) -> str:
        """The provider's own id of a card that behaves so."""


@dataclass
class FakeServer:
    provider: Charger
    url: str = ""
    take: Callable[[bytes, Mapping[str, str]], Awaitable[int]] | None = None
    """Takes its notifications, and answers with a status; None: nobody does."""
    taken: list[tuple[bytes, int]] = field(default_factory=list)
    """The notifications that it has sent, each with the answer."""

    async def card(self, behaviour: str) -> str:
        async with httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS) as client:
            made = await client.post("/cards", json={"card": behaviour})
        method: str = made.raise_for_status().json()["method"]
        return method

    async def card_of(self, page_url: str) -> str:
        """Its own id of the card that was given on this page."""
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
            page = await client.get(page_url.replace("/pages/", "/setups/"))
        method: str = page.raise_for_status().json()["method"]
        return method

    async def change_card(self, method: str, behaviour: str) -> None:
        """Have a card behave so from now on."""
        async with httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS) as client:
            (await client.put(f"/cards/{method}", json={"card": behaviour})).raise_for_status()

    async def taken_from(self, method: str) -> int:
        """What was taken from a card, in minor units."""
        async with httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS) as client:
            charges = (await client.get("/charges")).raise_for_status().json()["data"].values()
        taken = [one["amount"] for one in charges if (one["method"], one["status"]) == (method, "succeeded")]
        return sum(taken)

    async def script(self, *, copies: int = 1, gathered: int = 1) -> None:
        """Send each notification so often, and so many together, the last one first."""
        async with httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS) as client:
            answer = await client.put("/script", json={"copies": copies, "gathered": gathered})
        answer.raise_for_status()

    async def fill_in(self, page_url: str, card: str) -> httpx.Response:
        """Do what a person does on the page: look at it, and choose a card (none: empty)."""
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
            assert (await client.get(page_url)).status_code == 200
            return await client.post(page_url, data={"card": card})


@dataclass
class StripeServer:
    provider: Charger
    url: str

    async def card(self, behaviour: str) -> str:
        # The library has no word for the number of a card, and it should not.
        card = {"number": _NUMBERS[behaviour], "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        async with httpx.AsyncClient(base_url=self.url, auth=(STRIPE_KEY, "")) as client:
            customer = (await client.post("/v1/customers")).raise_for_status().json()["id"]
            asked = {"type": "card", **{f"card[{name}]": value for name, value in card.items()}}
            method: str = (await client.post("/v1/payment_methods", data=asked)).raise_for_status().json()["id"]
            attached = await client.post(f"/v1/payment_methods/{method}/attach", data={"customer": customer})
            attached.raise_for_status()
        return method


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """The provider of the private stack, in the tests' own process."""
    server = FakeServer(FakeProvider(""))

    async def send(body: bytes, headers: Mapping[str, str]) -> None:
        if server.take is not None:
            server.taken.append((body, await server.take(body, headers)))

    async with served(create_provider(Notifier(send, FAKE_SECRET))) as url:
        server.provider, server.url = FakeProvider(url, FAKE_SECRET), url
        yield server


def _front(url: str) -> web.Application:
    """What Stripe has and localstripe lacks, in front of it: idempotency keys, and lists of one customer's payments."""
    answers: dict[str, tuple[int, bytes]] = {}
    client = httpx.AsyncClient(base_url=url, timeout=10)

    async def pass_on(request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        if key not in answers:
            query = httpx.QueryParams(request.query_string).remove("customer")
            headers = {
                name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers
            }
            content = await request.read()
            answer = await client.request(request.method, request.path, params=query, headers=headers, content=content)
            answers[key] = (answer.status_code, _of_customer(answer.content, request.query.get("customer")))
        status, body = answers[key] if key else answers.pop(key)
        return web.Response(status=status, body=body, content_type="application/json")

    async def close(_: web.Application) -> None:
        await client.aclose()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", pass_on)
    application.on_cleanup.append(close)
    return application


def _of_customer(body: bytes, customer: str | None) -> bytes:
    if customer is None:
        return body
    listed = json.loads(body)
    listed["data"] = [one for one in listed["data"] if one["customer"] == customer]
    return json.dumps(listed).encode()


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[str]:
    async with listening(web.AppRunner(application, shutdown_timeout=1.0)) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def stripe_server(folder: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[StripeServer]:
    """A server with Stripe's API, with an empty memory."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "localstripe", "--from-scratch", "--port", str(port),
        cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient() as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"{url}/v1/customers", auth=(STRIPE_KEY, ""))).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(answers, what="the server with Stripe's API answers")
        async with served(_front(url)) as front:
            provider = StripeProvider(STRIPE_KEY, url=front)
            yield StripeServer(provider, front)
            await provider.close()
    finally:
        process.terminate()
        await process.wait()
