"""Dead letters: records that a consumer could not handle, stored unchanged in `<topic>.dlq` with origin and reason.

    python -m shared.messaging.dead_letters list jobs.events.v1.dlq
    python -m shared.messaging.dead_letters resend jobs.events.v1.dlq --partition 0 --offset 17
    python -m shared.messaging.dead_letters resend jobs.events.v1.dlq --all

`resend` sends records to their topic again, where every consumer gets them. A consumer group stores what `--all` has sent, so that a second
`--all` sends only newer dead letters.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.chassis.settings import environment
from shared.messaging.producer import Producer, Record
from shared.messaging.records import KafkaRecord
from shared.messaging.security import NOT_SECURED, KafkaSecurity, of_environment

SUFFIX = ".dlq"
HEADER_PREFIX = "dlq_"
# The largest record that Kafka accepted must still fit together with its reason.
REQUEST_BYTES_MAX = 2 * 1024 * 1024

LISTED_MAX = 50
RESEND_RECORDS_MAX = 500
QUIET_SECONDS = 10.0


def topic_of(topic: str) -> str:
    """The dead letter topic of this topic."""
    return f"{topic}{SUFFIX}"


def dead_letter(record: KafkaRecord, *, reason: str, consumer: str) -> Record:
    """The dead letter of a record: its key, value and headers, with origin and reason as further headers."""
    details = {
        "origin_topic": record.topic,
        "origin_partition": str(record.partition),
        "origin_offset": str(record.offset),
        "reason": reason,
        "consumer": consumer,
        "at": datetime.now(UTC).isoformat(),
    }
    added = [(f"{HEADER_PREFIX}{name}", value.encode()) for name, value in details.items()]
    # A record needs a key or a value. An empty value is as unreadable as none.
    value = b"" if record.key is None and record.value is None else record.value
    return Record(topic_of(record.topic), record.key, value, [*_original_headers(record), *added])


async def list_dead_letters(
    bootstrap_servers: str, dead_letter_topic: str, *, security: KafkaSecurity = NOT_SECURED, limit: int = LISTED_MAX
) -> list[dict[str, object]]:
    """The oldest dead letters: position, reason, record. `resent` is true for those that `resend_all` has sent."""
    found: list[dict[str, object]] = []
    async with _reader(bootstrap_servers, security, dead_letter_topic) as consumer:
        partitions = _partitions(consumer, dead_letter_topic)
        resent = {partition: await consumer.committed(partition) or 0 for partition in partitions}
        await consumer.seek_to_beginning(*partitions)
        async for batch in _until_end(consumer, partitions, limit):
            found.extend(_description(record, resent) for record in batch)
    return found


async def resend_one(
    bootstrap_servers: str,
    dead_letter_topic: str,
    *,
    partition: int,
    offset: int,
    security: KafkaSecurity = NOT_SECURED,
) -> None:
    """Send one dead letter to its topic, also when that was done before. Raises `LookupError` if Kafka no longer has it."""
    async with _reader(bootstrap_servers, security, dead_letter_topic) as consumer:
        place = TopicPartition(dead_letter_topic, partition)
        if place not in _partitions(consumer, dead_letter_topic):
            raise LookupError(f"{dead_letter_topic} has no partition {partition}")
        consumer.seek(place, offset)
        async for batch in _until_end(consumer, [place], 1):
            if batch[0].offset == offset:
                async with _sender(bootstrap_servers, security) as send:
                    await send(batch)
                return
    raise LookupError(f"{dead_letter_topic} has no record at {partition}:{offset}")


async def resend_all(bootstrap_servers: str, dead_letter_topic: str, *, security: KafkaSecurity = NOT_SECURED) -> int:
    """Send all dead letters that no earlier call has sent to their topic; how many."""
    count = 0
    async with (
        _reader(bootstrap_servers, security, dead_letter_topic) as consumer,
        _sender(bootstrap_servers, security) as send,
    ):
        partitions = _partitions(consumer, dead_letter_topic)
        async for batch in _until_end(consumer, partitions, None):
            await send(batch)
            # Committed after Kafka has them: a crash in between sends the batch twice, and never loses it.
            await consumer.commit({TopicPartition(r.topic, r.partition): r.offset + 1 for r in batch})
            count += len(batch)
    return count


@asynccontextmanager
async def _reader(
    bootstrap_servers: str, security: KafkaSecurity, dead_letter_topic: str
) -> AsyncIterator[AIOKafkaConsumer]:
    options = {
        "bootstrap_servers": bootstrap_servers.split(","),
        "client_id": "dead-letters",
        **security.client_options,
    }
    consumer = AIOKafkaConsumer(
        **options,
        group_id=f"dead-letters.{dead_letter_topic}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await consumer.start()
            await admin.start()
            (described,) = await admin.describe_topics([dead_letter_topic])
        numbers = [partition["partition"] for partition in described["partitions"]]
        if not numbers:
            raise LookupError(f"Kafka does not know topic {dead_letter_topic}")
        consumer.assign([TopicPartition(dead_letter_topic, number) for number in numbers])
        yield consumer
    finally:
        await consumer.stop()
        await admin.close()


def _partitions(consumer: AIOKafkaConsumer, dead_letter_topic: str) -> list[TopicPartition]:
    return sorted(partition for partition in consumer.assignment() if partition.topic == dead_letter_topic)


async def _until_end(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], limit: int | None
) -> AsyncIterator[list[KafkaRecord]]:
    """Batches from the consumer's position to the present end, at most `limit` records."""
    ends = await consumer.end_offsets(partitions)
    left = limit
    while left is None or left > 0:
        behind = [place for place in partitions if await consumer.position(place) < ends[place]]
        if not behind:
            return
        records_max = RESEND_RECORDS_MAX if left is None else min(RESEND_RECORDS_MAX, left)
        found = await consumer.getmany(*behind, timeout_ms=int(QUIET_SECONDS * 1000), max_records=records_max)
        if not found:
            raise TimeoutError(f"Kafka delivered nothing for {QUIET_SECONDS:g} s")
        batch = [record for records in found.values() for record in records]
        left = None if left is None else left - len(batch)
        yield batch


@asynccontextmanager
async def _sender(
    bootstrap_servers: str, security: KafkaSecurity
) -> AsyncIterator[Callable[[Sequence[KafkaRecord]], Awaitable[None]]]:
    producer = Producer(bootstrap_servers, client_id="dead-letters", security=security)

    async def send(letters: Sequence[KafkaRecord]) -> None:
        originals = [
            Record(one.topic.removesuffix(SUFFIX), one.key, one.value, list(_original_headers(one))) for one in letters
        ]
        for failure in await producer.send(originals):
            if failure is not None:
                raise failure

    try:
        yield send
    finally:
        await producer.close()


def _original_headers(record: KafkaRecord) -> Iterator[tuple[str, bytes]]:
    return ((name, value) for name, value in record.headers if not name.startswith(HEADER_PREFIX))


def _description(record: KafkaRecord, resent: Mapping[TopicPartition, int]) -> dict[str, object]:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    place = TopicPartition(record.topic, record.partition)
    return {
        "partition": record.partition,
        "offset": record.offset,
        **{name: headers.get(f"{HEADER_PREFIX}{name}") for name in ("reason", "consumer", "at")},
        **{
            name: headers.get(f"{HEADER_PREFIX}{name}")
            for name in ("origin_topic", "origin_partition", "origin_offset")
        },
        "type": headers.get("ce_type"),
        "id": headers.get("ce_id"),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "value_bytes": len(record.value or b""),
        "resent": record.offset < resent[place],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.messaging.dead_letters", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--bootstrap", default=os.environ.get("WAYBILL_KAFKA_BOOTSTRAP_SERVERS"), metavar="HOST:PORT")
    commands = parser.add_subparsers(dest="command", required=True)
    list_command = commands.add_parser("list", help="print dead letters, one JSON line each")
    list_command.add_argument("topic")
    list_command.add_argument("--limit", type=int, default=LISTED_MAX)
    resend_command = commands.add_parser("resend", help="send dead letters to their topic again")
    resend_command.add_argument("topic")
    resend_command.add_argument("--partition", type=int)
    resend_command.add_argument("--offset", type=int)
    resend_command.add_argument("--all", action="store_true")
    options = parser.parse_args(arguments)
    if not options.bootstrap:
        parser.error("name Kafka with --bootstrap or WAYBILL_KAFKA_BOOTSTRAP_SERVERS")
    topic = options.topic if options.topic.endswith(SUFFIX) else topic_of(options.topic)
    try:
        return _run(parser, options, topic)
    except (LookupError, ValueError, OSError, KafkaError, TimeoutError) as error:
        sys.stderr.write(f"dead_letters: {error or type(error).__name__}\n")
        return 2


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, topic: str) -> int:
    security = of_environment(environment())
    if options.command == "list":
        for line in asyncio.run(list_dead_letters(options.bootstrap, topic, security=security, limit=options.limit)):
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        return 0
    one = options.partition is not None and options.offset is not None
    if one == options.all:
        parser.error("say either --all or --partition with --offset")
    if options.all:
        count = asyncio.run(resend_all(options.bootstrap, topic, security=security))
    else:
        asyncio.run(
            resend_one(options.bootstrap, topic, partition=options.partition, offset=options.offset, security=security)
        )
        count = 1
    sys.stdout.write(f"{count} sent again to {topic.removesuffix(SUFFIX)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
