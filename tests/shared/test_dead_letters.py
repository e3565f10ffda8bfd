"""Dead letters can be looked at, and put back: one by one, or all that have come since the last time."""

import asyncio
import json
import subprocess
import sys

import pytest
from aiokafka import ConsumerRecord

from shared.messaging import dead_letters
from shared.messaging.producer import Producer, Record
from tests.harness.stack import BackingStack
from tests.harness.transport import note, noted_on, read_records


def delivered(record: Record, offset: int) -> "ConsumerRecord[bytes, bytes]":
    """The record as a consumer would have been given it."""
    return ConsumerRecord(
        record.topic,
        3,
        offset,
        0,
        0,
        record.key,
        record.value,
        None,
        0,
        0,
        tuple(record.headers),
    )


async def set_aside(backing: BackingStack, topic: str, *words: str) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    kind = noted_on(topic)
    events = [note(kind, "key", number, word) for number, word in enumerate(words, 1)]
    originals = [Record(topic, b"key", event.value(), event.headers()) for event in events]
    outcomes = await producer.send(
        [
            dead_letters.dead_letter(delivered(original, offset), reason=f"{word} is bad", consumer="tests")
            for offset, (original, word) in enumerate(zip(originals, words, strict=True))
        ]
    )
    await producer.close()
    assert outcomes == [None] * len(words)


async def values(backing: BackingStack, topic: str, count: int) -> list[str]:
    records = await read_records(backing.kafka_bootstrap, topic, count=count)
    assert not [name for record in records for name, _ in record.headers if name.startswith("dlq_")]
    return [json.loads(record.value or b"")["note"] for record in records]


async def test_a_list_shows_where_each_came_from_and_why_without_its_content(backing: BackingStack, topic: str) -> None:
    await set_aside(backing, topic, "first", "second", "third")

    listed = await dead_letters.list_dead_letters(backing.kafka_bootstrap, f"{topic}.dlq", limit=2)

    assert [letter["offset"] for letter in listed] == [0, 1]
    assert listed[0]["reason"] == "first is bad"
    assert listed[0]["consumer"] == "tests"
    assert (listed[1]["origin_topic"], listed[1]["origin_partition"], listed[1]["origin_offset"]) == (topic, "3", "1")
    assert listed[0]["type"] == "note.taken"
    assert listed[0]["resent"] is False
    assert "value" not in listed[0]


async def test_all_are_sent_again_once_and_then_only_what_has_come_since(backing: BackingStack, topic: str) -> None:
    await set_aside(backing, topic, "first", "second")

    assert await dead_letters.resend_all(backing.kafka_bootstrap, f"{topic}.dlq") == 2
    assert await dead_letters.resend_all(backing.kafka_bootstrap, f"{topic}.dlq") == 0
    await set_aside(backing, topic, "third")
    assert await dead_letters.resend_all(backing.kafka_bootstrap, f"{topic}.dlq") == 1

    assert await values(backing, topic, 3) == ["first", "second", "third"]
    listed = await dead_letters.list_dead_letters(backing.kafka_bootstrap, f"{topic}.dlq")
    assert [letter["resent"] for letter in listed] == [True] * 3


async def test_a_resent_record_is_what_it_was(backing: BackingStack, topic: str) -> None:
    kind = noted_on(topic)
    event = note(kind, "key", 1, "héllo")
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    original = Record(topic, None, b"\x00\xff", [*event.headers(), ("odd", b"\xff")])
    letter = dead_letters.dead_letter(delivered(original, 0), reason="bad", consumer="tests")
    again = dead_letters.dead_letter(delivered(letter, 0), reason="bad again", consumer="tests")
    assert [name for name, _ in again.headers].count("dlq_reason") == 1, "one story, the latest"
    await producer.send([letter])
    await producer.close()

    await dead_letters.resend_all(backing.kafka_bootstrap, f"{topic}.dlq")

    (record,) = await read_records(backing.kafka_bootstrap, topic, count=1)
    assert (record.key, record.value, list(record.headers)) == (None, b"\x00\xff", list(original.headers))


async def test_one_can_be_chosen_by_its_place(backing: BackingStack, topic: str) -> None:
    await set_aside(backing, topic, "first", "second", "third")

    await dead_letters.resend_one(backing.kafka_bootstrap, f"{topic}.dlq", partition=0, offset=1)

    assert await values(backing, topic, 1) == ["second"]
    with pytest.raises(LookupError):
        await dead_letters.resend_one(backing.kafka_bootstrap, f"{topic}.dlq", partition=0, offset=17)
    with pytest.raises(LookupError):
        await dead_letters.resend_one(backing.kafka_bootstrap, f"{topic}.dlq", partition=9, offset=0)


async def test_the_command_line(backing: BackingStack, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    await set_aside(backing, topic, "first", "second")

    async def command(*arguments: str) -> tuple[int, str, str]:
        status = await asyncio.to_thread(dead_letters.main, ["--bootstrap", backing.kafka_bootstrap, *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    status, out, _ = await command("list", f"{topic}.dlq")
    assert status == 0
    assert [json.loads(line)["reason"] for line in out.splitlines()] == ["first is bad", "second is bad"]
    assert await command("resend", topic, "--partition", "0", "--offset", "0") == (0, f"1 sent again to {topic}\n", "")
    assert await command("resend", topic, "--all") == (0, f"2 sent again to {topic}\n", "")
    assert await command("resend", topic, "--all") == (0, f"0 sent again to {topic}\n", "")

    status, _, err = await command("list", "no.such.topic")
    assert status == 2
    assert "no.such.topic.dlq" in err
    with pytest.raises(SystemExit):
        await command("resend", topic)


def test_the_module_is_a_command() -> None:
    command = [sys.executable, "-m", "shared.messaging.dead_letters"]
    without_arguments = subprocess.run(command, capture_output=True, text=True)

    assert without_arguments.returncode == 2
    assert "usage: python -m shared.messaging.dead_letters" in without_arguments.stderr
