"""A payment provider for the demo and for trying things out: a small real HTTP server on loopback that takes no money.

A person gives a "card" on its page by choosing what the card will do. Everything is kept in memory, up to a bound. Asked twice with one
key, it charges once and answers the same; a card may also have it hang up before or after the effect, once for each charge. It notifies
billing of what has changed, signed, several times and out of order where its script says so.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

SECRET_VARIABLE = "PAYMENTS_NOTIFICATION_SECRET"
"""Where it finds what it signs its notifications with."""
KEPT_MAX = 10_000
SCRIPT_MAX = 100
SEND_SECONDS = 5.0
PAGE_POLICY = "default-src 'none'; form-action 'self' http: https:; frame-ancestors 'none'"
CARDS = {
    "pays": "A card that pays",
    "declines": "A card without money",
    "is_expired": "A card that has expired",
    "hangs_up_before": "A card that pays at the second try: the provider hangs up before it has charged",
    "hangs_up_after": "A card that pays, but the provider hangs up before it has said so",
}
"""What a card does, and how the page calls it."""


@dataclass
class Page:
    """A page that waits for a person, or has ended."""

    return_url: str
    status: str = "open"
    method: str = ""
    label: str = ""


@dataclass
class Books:
    """Everything that the provider remembers."""

    pages: dict[str, Page] = field(default_factory=dict)
    page_of_key: dict[str, str] = field(default_factory=dict)
    cards: dict[str, str] = field(default_factory=dict)
    """What each payment method does."""
    charges: dict[str, dict[str, Any]] = field(default_factory=dict)
    hung_up: set[str] = field(default_factory=set)
    """Keys of charges for which it has hung up."""

    def add_card(self, card: str) -> str:
        method = f"card_{secrets.token_hex(8)}"
        self.cards[method] = card
        return method

    def charge(self, key: str, method: str, amount: int, currency: str) -> dict[str, Any]:
        """The charge with this key, made if there is none."""
        if key not in self.charges:
            self.charges[key] = {"amount": amount, "currency": currency, "method": method, **self._outcome(method)}
        return self.charges[key]

    def _outcome(self, method: str) -> dict[str, Any]:
        match self.cards.get(method):
            case None:
                return {"status": "declined", "code": "method_unknown", "is_final": True}
            case "declines":
                return {"status": "declined", "code": "insufficient_funds", "is_final": False}
            case "is_expired":
                return {"status": "declined", "code": "expired_card", "is_final": True}
            case _:
                return {"status": "succeeded", "reference": f"pay_{secrets.token_hex(8)}"}


Send = Callable[[bytes, Mapping[str, str]], Awaitable[None]]


class Notifier:
    """Tells of what has changed. What is not taken is not told again: whoever is told looks by itself, a little later."""

    def __init__(self, send: Send, secret: str) -> None:
        self.copies = 1
        """How often each notification is sent."""
        self.gathered = 1
        """As many are gathered, and then sent, the last one first."""
        self._send = send
        self._secret = secret
        self._waiting: list[bytes] = []
        self._sending: set[asyncio.Task[None]] = set()

    def tell(self, what: str, name: str) -> None:
        """That something of this name has changed: a `setup` or a `charge`."""
        self._waiting.append(json.dumps({"id": f"evt_{secrets.token_hex(8)}", "object": "event", what: name}).encode())
        if len(self._waiting) < self.gathered:
            return
        batch, self._waiting = self._waiting[::-1] * self.copies, []
        task = asyncio.create_task(self._send_all(batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def stop(self, _: web.Application) -> None:
        """Send nothing more."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send_all(self, batch: list[bytes]) -> None:
        for body in batch:
            try:
                await self._send(body, {"content-type": "application/json", "fake-signature": sign(body, self._secret)})
            except (ClientError, TimeoutError) as error:
                logging.warning("a notification was not taken: %r", error)


def sign(body: bytes, secret: str) -> str:
    """The signature of a notification that is sent now."""
    seconds = int(time.time())
    return f"t={seconds},v1={hmac.new(secret.encode(), f'{seconds}.'.encode() + body, hashlib.sha256).hexdigest()}"


BOOKS = web.AppKey("books", Books)
NOTIFIER = web.AppKey("notifier", Notifier)
SHOWN_AT = web.AppKey("shown_at", str)


def create_provider(notifier: Notifier, *, shown_at: str = "") -> web.Application:
    """The provider as an application with an empty memory; browsers find its pages at that address, or where it was asked for them."""
    application = web.Application(client_max_size=64 * 1024)
    application[BOOKS] = Books()
    application[NOTIFIER] = notifier
    application[SHOWN_AT] = shown_at
    application.on_cleanup.append(notifier.stop)
    application.add_routes(
        [
            web.post("/setups", open_setup),
            web.get("/setups/{reference}", show_setup),
            web.get("/pages/{reference}", show_page),
            web.post("/pages/{reference}", fill_in),
            web.post("/cards", add_card),
            web.put("/cards/{method}", change_card),
            web.post("/charges", charge),
            web.get("/charges", list_charges),
            web.get("/charges/{key}", show_charge),
            web.put("/script", set_script),
        ]
    )
    return application


async def open_setup(request: web.Request) -> web.Response:
    """Open a page; the same one for the same key."""
    asked = await request.json()
    books = request.app[BOOKS]
    reference = books.page_of_key.get(asked["key"])
    if reference is None:
        if len(books.pages) >= KEPT_MAX:
            raise web.HTTPConflict(text=f"at most {KEPT_MAX} pages\n")
        reference = books.page_of_key[asked["key"]] = f"page_{secrets.token_hex(8)}"
        books.pages[reference] = Page(asked["return_url"])
    url = URL(request.app[SHOWN_AT] or request.url.origin()) / "pages" / reference
    return web.json_response({"reference": reference, "url": str(url)}, status=201)


async def show_setup(request: web.Request) -> web.Response:
    """What has become of a page."""
    page = _page(request)
    return web.json_response({"status": page.status, "method": page.method, "label": page.label})


async def show_page(request: web.Request) -> web.Response:
    """The page itself."""
    page = _page(request)
    if page.status != "open":
        return _html("<h1>This page has ended</h1>")
    choices = "".join(
        f'<p><button name="card" value="{card}">{escape(text)}</button></p>' for card, text in CARDS.items()
    )
    cancel = '<p><button name="card" value="">Give none</button></p>'
    return _html(
        f'<h1>Give a payment method</h1><p>No money moves here.</p><form method="post">{choices}{cancel}</form>'
    )


async def fill_in(request: web.Request) -> web.Response:
    """Give a card, or none; the person goes back to where it came from."""
    page = _page(request)
    card = str((await request.post()).get("card", ""))
    if card and card not in CARDS:
        raise web.HTTPUnprocessableEntity(text="no such card\n")
    if page.status == "open" and card:
        page.method = request.app[BOOKS].add_card(card)
        page.status, page.label = "complete", f"{CARDS[card].partition(':')[0]} •••• {page.method[-4:]}"
    elif page.status == "open":
        page.status = "expired"
    request.app[NOTIFIER].tell("setup", request.match_info["reference"])
    if page.return_url:
        raise web.HTTPSeeOther(page.return_url)
    return _html("<h1>Thank you</h1><p>You can close this page.</p>")


async def add_card(request: web.Request) -> web.Response:
    """Give a card without a page, for tests."""
    card = (await request.json())["card"]
    if card not in CARDS:
        raise web.HTTPUnprocessableEntity(text="no such card\n")
    return web.json_response({"method": request.app[BOOKS].add_card(card)}, status=201)


async def change_card(request: web.Request) -> web.Response:
    """Have a card do something else from now on, as when its owner has money again."""
    method, card = request.match_info["method"], (await request.json())["card"]
    if method not in request.app[BOOKS].cards:
        raise web.HTTPNotFound(text="no such payment method\n")
    if card not in CARDS:
        raise web.HTTPUnprocessableEntity(text="no such card\n")
    request.app[BOOKS].cards[method] = card
    return web.Response(status=204)


async def charge(request: web.Request) -> web.Response:
    """Charge a card, once for each key."""
    asked = await request.json()
    books = request.app[BOOKS]
    key, card = asked["key"], books.cards.get(asked["method"], "")
    if len(books.charges) >= KEPT_MAX:
        raise web.HTTPConflict(text=f"at most {KEPT_MAX} charges\n")
    hangs_up = card.startswith("hangs_up") and key not in books.hung_up
    books.hung_up.add(key)
    if hangs_up and card == "hangs_up_before":
        return _hang_up(request)
    made = books.charge(key, asked["method"], asked["amount"], asked["currency"])
    request.app[NOTIFIER].tell("charge", key)
    return _hang_up(request) if hangs_up else web.json_response(made, status=201)


async def show_charge(request: web.Request) -> web.Response:
    """The charge with this key."""
    found = request.app[BOOKS].charges.get(request.match_info["key"])
    if found is None:
        raise web.HTTPNotFound(text="no charge with this key\n")
    return web.json_response(found)


async def list_charges(request: web.Request) -> web.Response:
    """All charges, by their keys."""
    return web.json_response({"data": request.app[BOOKS].charges})


async def set_script(request: web.Request) -> web.Response:
    """Say how often each notification is sent (`copies`), and how many are gathered and sent the last one first (`gathered`)."""
    asked = await request.json()
    copies, gathered = int(asked.get("copies", 1)), int(asked.get("gathered", 1))
    if not (1 <= copies <= SCRIPT_MAX and 1 <= gathered <= SCRIPT_MAX):
        raise web.HTTPUnprocessableEntity(text=f"copies and gathered: from 1 to {SCRIPT_MAX}\n")
    request.app[NOTIFIER].copies, request.app[NOTIFIER].gathered = copies, gathered
    return web.Response(status=204)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _page(request: web.Request) -> Page:
    page = request.app[BOOKS].pages.get(request.match_info["reference"])
    if page is None:
        raise web.HTTPNotFound(text="no such page\n")
    return page


def _html(body: str) -> web.Response:
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Payment provider</title><body>{body}</body></html>'
    headers = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _post_to(url: str) -> Send:
    async def send(body: bytes, headers: Mapping[str, str]) -> None:
        timeout = ClientTimeout(total=SEND_SECONDS)
        async with ClientSession(timeout=timeout) as client, client.post(url, data=body, headers=headers) as answer:
            answer.raise_for_status()

    return send


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A payment provider that takes no money.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--shown-at", default="", metavar="URL", help="where browsers reach it, if elsewhere than billing"
    )
    parser.add_argument("--notifies", required=True, metavar="URL", help=f"signed by the secret in {SECRET_VARIABLE}")
    arguments = parser.parse_args()
    notifier = Notifier(_post_to(arguments.notifies), os.environ[SECRET_VARIABLE])
    web.run_app(
        create_provider(notifier, shown_at=arguments.shown_at), host=arguments.host, port=arguments.port, print=None
    )


if __name__ == "__main__":
    main()
