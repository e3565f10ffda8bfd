"""Ceilings on the same machine without the service, in a process of its own: the HTTP client alone, and Kafka alone."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from bench.ceilings import create_topics, hop
from bench.children import Document, obey
from bench.webhook_traffic import Template
from shared.chassis.networks import parse_networks
from shared.ids import new_id
from webhooks.http_client.requests import DeliveryTarget, Message
from webhooks.http_client.responses import Outcome
from webhooks.http_client.sender import Sender

LOOPBACK = parse_networks("127.0.0.0/8")
TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0
SECRET_BYTES = 32


async def prepare(command: Document) -> Document:
    """Create the topics in Kafka, before they are needed: a new topic has no leaders for a moment."""
    await create_topics(command["bootstrap_servers"])
    return {}


async def deliver(command: Document) -> Document:
    """Sign and send `count` events like the samples to `urls` in turn, `in_flight` at once. Returns rate and processor time of one."""
    targets = [
        DeliveryTarget(endpoint_id=uuid4(), version=1, url=url, headers=(), keys=(secrets.token_bytes(SECRET_BYTES),))
        for url in command["urls"]
    ]
    templates = [Template.of(headers, value) for headers, value in command["samples"]]
    count = command["count"]
    messages = [_message(templates[number % len(templates)], number) for number in range(count)]
    sender = Sender(
        timeout_seconds=TIMEOUT_SECONDS, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS, allowed_networks=LOOPBACK
    )
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    numbers: Iterator[int] = iter(range(count))
    left = count

    def send_next() -> None:
        number = next(numbers, None)
        if number is not None:
            sender.send(targets[number % len(targets)], messages[number], done)

    def done(outcome: Outcome) -> None:
        nonlocal left
        left -= 1
        if outcome.cause is not None and not ended.done():
            ended.set_exception(RuntimeError(f"not delivered: {outcome.cause}"))
        elif left == 0:
            ended.set_result(None)
        else:
            loop.call_soon(send_next)

    began, spent = time.monotonic(), time.process_time()
    for _ in range(command["in_flight"]):
        send_next()
    try:
        await ended
    finally:
        await sender.close()
    return {
        "per_second": count / (time.monotonic() - began),
        "cpu_us": (time.process_time() - spent) * 1e6 / count,
    }


def _message(template: Template, number: int) -> Message:
    now = datetime.now(UTC)
    body = b'{"type":"job.created","timestamp":"%s","data":%s}' % (now.isoformat().encode(), template.record(number)[1])
    return Message(new_id("evt"), body, None, now)


if __name__ == "__main__":
    obey({"prepare": prepare, "deliver": deliver, "hop": hop})
