"""Topics: the file is made true, again and again, except for what must not change."""

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.messaging import topics
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def admin(backing: BackingStack) -> AIOKafkaAdminClient:
    client = AIOKafkaAdminClient(bootstrap_servers=await asyncio.to_thread(lambda: backing.kafka_bootstrap))
    await client.start()
    yield client
    await client.close()


def a_topic(**changed: object) -> topics.Topic:
    described = {
        "name": f"tests.{secrets.token_hex(6)}",
        "partitions": 2,
        "replication_factor": 1,
        "config": {"retention.ms": "60000"},
    }
    return topics.Topic.model_validate({**described, **changed})


async def own_settings(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    return dict((await topics._settings(admin, [name]))[name])


async def has_settings(admin: AIOKafkaAdminClient, name: str, expected: Mapping[str, str]) -> bool:
    return await own_settings(admin, name) == expected


async def test_missing_topics_are_created_and_a_second_time_changes_nothing(
    backing: BackingStack, admin: AIOKafkaAdminClient
) -> None:
    one, two = a_topic(), a_topic(config={})

    first = await topics.apply(backing.kafka_bootstrap, [one, two])
    second = await topics.apply(backing.kafka_bootstrap, [one, two])

    assert first == topics.Outcome(changes=[f"created {one.name}", f"created {two.name}"])
    assert second == topics.Outcome()
    (described,) = await admin.describe_topics([one.name])
    assert len(described["partitions"]) == 2
    assert await own_settings(admin, one.name) == {"retention.ms": "60000"}


async def test_settings_are_brought_up_to_date_and_others_are_left_alone(
    backing: BackingStack, admin: AIOKafkaAdminClient
) -> None:
    topic = a_topic()
    await topics.apply(backing.kafka_bootstrap, [topic])
    by_hand = {"retention.ms": "60000", "segment.ms": "70000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, by_hand)])
    # Kafka confirms a setting a moment before it shows it.
    await eventually(lambda: has_settings(admin, topic.name, by_hand))
    changed = topic.model_copy(update={"config": {"retention.ms": "120000", "cleanup.policy": "delete"}})

    outcome = await topics.apply(backing.kafka_bootstrap, [changed])

    assert outcome.changes == [f"{topic.name}: cleanup.policy = delete", f"{topic.name}: retention.ms = 120000"]
    expected = {"retention.ms": "120000", "segment.ms": "70000", "cleanup.policy": "delete"}
    await eventually(lambda: has_settings(admin, topic.name, expected))
    assert await topics.apply(backing.kafka_bootstrap, [changed]) == topics.Outcome()


async def test_another_number_of_partitions_is_reported_and_never_made(
    backing: BackingStack, admin: AIOKafkaAdminClient
) -> None:
    topic = a_topic()
    await topics.apply(backing.kafka_bootstrap, [topic])

    outcome = await topics.apply(backing.kafka_bootstrap, [topic.model_copy(update={"partitions": 5})])

    assert outcome == topics.Outcome(differences=[f"{topic.name} has 2 partitions, the file says 5"])
    (described,) = await admin.describe_topics([topic.name])
    assert len(described["partitions"]) == 2


async def test_two_that_run_at_the_same_time_do_not_disturb_each_other(backing: BackingStack) -> None:
    many = [a_topic() for _ in range(5)]

    outcomes = await asyncio.gather(*(topics.apply(backing.kafka_bootstrap, many) for _ in range(2)))

    assert sum(len(outcome.changes) for outcome in outcomes) == 5


async def test_the_command_line(backing: BackingStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"tests.{secrets.token_hex(6)}"
    file = tmp_path / "topics.yaml"

    async def command(partitions: int, *more: str) -> tuple[int, str, str]:
        file.write_text(f"topics: [{{name: {name}, partitions: {partitions}, replication_factor: 3}}]")
        arguments = [str(file), "--bootstrap", backing.kafka_bootstrap, "--replication-factor", "1", *more]
        status = await asyncio.to_thread(topics.main, arguments)
        output = capsys.readouterr()
        return status, output.out, output.err

    assert await command(1) == (0, f"created {name}\n", "")
    assert await command(1) == (0, "1 topics are as they should be\n", "")
    assert await command(2) == (1, "", f"topics: {name} has 1 partitions, the file says 2; not changed\n")
    assert await command(2, "--prefix", "other.") == (0, f"created other.{name}\n", "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("topics: []", "topics"),
        ("topics: [{name: a, partitions: 0, replication_factor: 1}]", "partitions"),
        ("topics: [{name: a b, partitions: 1, replication_factor: 1}]", "name"),
        ("topics: [{name: a, partitions: 1, replication_factor: 1, retention: 3}]", "retention"),
        (
            "topics: [{name: a, partitions: 1, replication_factor: 1}, {name: a, partitions: 1, replication_factor: 1}]",
            "twice",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_reason(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text(text)

    assert topics.main([str(file), "--bootstrap", "127.0.0.1:1"]) == 2
    assert complaint in capsys.readouterr().err


def test_without_kafka_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    file = REPOSITORY / "deploy" / "kafka" / "topics.yaml"

    assert topics.main([str(file), "--bootstrap", "127.0.0.1:1"]) == 2
    assert "127.0.0.1" in capsys.readouterr().err


def test_the_suites_own_file_gives_each_topic_its_dead_letters() -> None:
    described = {topic.name: topic for topic in topics.load(REPOSITORY / "deploy" / "kafka" / "topics.yaml")}
    published = [name for name in described if not name.endswith(".dlq")]

    own = [f"{name}.events.v1" for name in ("billing", "identity", "jobs", "webhooks")]
    assert sorted(published) == ["access.receipts.v1", "access.usage.v1", "audit.events.v1", *own]
    assert all(described[name].partitions == 12 for name in published)
    assert all(f"{name}.dlq" in described for name in published)
