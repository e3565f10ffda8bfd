"""The publisher of the bench, in a process of its own: events of jobs, as the jobs service writes them to Kafka."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from bench.children import Document, obey
from shared.ids import new_id

ENVELOPE_BYTES = len('{"type":"job.created","timestamp":"2026-01-01T00:00:00.000000Z","data":}')
"""What a delivered body has around the value of the event."""
SEND_ROUND_SECONDS = 0.001
BATCH_BYTES = 128 * 1024
WAITING_MAX = 5000


@dataclass(frozen=True, slots=True)
class Template:
    """An event of one tenant at one location, without its id, its number and its instants."""

    headers: tuple[tuple[str, bytes], ...]
    rest: bytes

    @classmethod
    def of(cls, headers: Sequence[Sequence[str]], value: str) -> "Template":
        kept = tuple((name, content.encode()) for name, content in headers if name != "ce_id")
        # Fields may have any order: with the number and the instant first the receiver finds them at once.
        return cls(kept, value.removeprefix("{").encode())

    def record(self, number: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        value = b'{"sent_ns":%d,"n":%d,%s' % (time.monotonic_ns(), number, self.rest)
        return new_id("job").encode(), value, [*self.headers, ("ce_id", new_id("evt").encode())]


class Publisher:
    """Handles the commands of the bench."""

    def __init__(self) -> None:
        self._producer: AIOKafkaProducer | None = None
        self._topic = ""
        self._templates: list[Template] = []
        self._number = 0

    async def prepare(self, command: Document) -> Document:
        """Connect. `samples` are events (headers and value) of the sources, which take turns."""
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=command["bootstrap_servers"], acks="all", linger_ms=0, max_batch_size=BATCH_BYTES
            )
            await self._producer.start()
        self._topic = command["topic"]
        self._templates = [Template.of(headers, value) for headers, value in command["samples"]]
        return {"payload_bytes": len(self._templates[0].record(0)[1]) + ENVELOPE_BYTES}

    async def publish(self, command: Document) -> Document:
        """Publish `count` events as fast as Kafka accepts them."""
        assert self._producer is not None
        waiting = []
        first = self._number
        for _ in range(command["count"]):
            waiting.append(await self._send())
            if len(waiting) == WAITING_MAX:
                await asyncio.gather(*waiting)
                waiting = []
        await asyncio.gather(*waiting)
        return {"first": first, "count": command["count"]}

    async def publish_at_rate(self, command: Document) -> Document:
        """Publish `rate` events a second for `duration_seconds`, without waiting for acknowledgements."""
        rate, seconds = command["rate"], command["duration_seconds"]
        began, sent, first = time.monotonic(), 0, self._number
        late = 0.0
        waiting = []
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * rate)
            waiting += [await self._send() for _ in range(due - sent)]
            sent = due
            if len(waiting) > WAITING_MAX:
                waiting = _unfinished(waiting)
            late = max(late, time.monotonic() - began - elapsed)
            await asyncio.sleep(SEND_ROUND_SECONDS)
        await asyncio.gather(*waiting)
        return {"first": first, "count": sent, "late_ms": late * 1000}

    async def _send(self) -> "asyncio.Future[object]":
        assert self._producer is not None
        template = self._templates[self._number % len(self._templates)]
        key, value, headers = template.record(self._number)
        self._number += 1
        sent: asyncio.Future[object] = await self._producer.send(self._topic, value, key=key, headers=headers)
        return sent


def _unfinished(waiting: "Sequence[asyncio.Future[object]]") -> "list[asyncio.Future[object]]":
    """Events that Kafka has not acknowledged yet. Raises the error of any other one."""
    for one in waiting:
        if one.done():
            one.result()
    return [one for one in waiting if not one.done()]


if __name__ == "__main__":
    # Kafka is killed on purpose; an event that could not be published raises where it is awaited.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    publisher = Publisher()
    obey({"prepare": publisher.prepare, "publish": publisher.publish, "publish_at_rate": publisher.publish_at_rate})
