"""Single attempts: messages, targets, a sender that may connect to this machine, name servers with given answers, public keys."""

from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.chassis.networks import parse_networks
from shared.ids import new_id
from webhooks import signatures
from webhooks.http_client.requests import DeliveryTarget, Message
from webhooks.http_client.responses import Outcome
from webhooks.http_client.sender import Sender

LOOPBACK = parse_networks("127.0.0.0/8, ::1/128")
KEY = signatures.new_secret()
BODY = '{"type":"job.created","timestamp":"2030-01-31T12:00:00Z","data":{"city":"Montréal"}}'.encode()
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def message(body: bytes = BODY) -> Message:
    return Message(new_id("evt"), body, TRACEPARENT, datetime.now(UTC))


def target(url: str, **headers: str) -> DeliveryTarget:
    return DeliveryTarget(uuid4(), 1, url, tuple(headers.items()), (KEY,))


@asynccontextmanager
async def open_sender(**more: Any) -> AsyncIterator[Sender]:
    """A sender that may connect to this machine."""
    options = {"timeout_seconds": 20, "connect_timeout_seconds": 10, "allowed_networks": LOOPBACK, **more}
    sender = Sender(**options)
    try:
        yield sender
    finally:
        await sender.close()


async def attempt(url: str, *, headers: dict[str, str] | None = None, body: bytes = BODY, **more: Any) -> Outcome:
    """The outcome of one attempt by a sender of its own."""
    async with open_sender(**more) as sender:
        return await sender.attempt(target(url, **(headers or {})), message(body))


def names(*answers: Sequence[str]) -> Callable[[str], Any]:
    """A name server that gives these answers in turn; the last one is repeated."""
    left = list(answers)

    async def look_up(host: str) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return look_up


def public_key(text: str) -> Ed25519PublicKey:
    """The key that a receiver reads out of `whpk_…`."""
    assert text.startswith("whpk_")
    return Ed25519PublicKey.from_public_bytes(b64decode(text.removeprefix("whpk_"), validate=True))


def of_name(url: str, name: str = "receiver.example.com") -> str:
    return url.replace("127.0.0.1", name)
