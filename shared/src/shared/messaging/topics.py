"""Topics: creates and configures Kafka's topics as a file says. Runs before the services; safe to repeat.

    python -m shared.messaging.topics deploy/kafka/topics.yaml --bootstrap localhost:9092
    python -m shared.messaging.topics deploy/kafka/topics.yaml --print-access

It creates missing topics and applies settings; with `--access` also who may write and read them (`shared.messaging.acls`), for which Kafka
needs an authorizer. `--print-access` prints the same for Kafka's own `kafka-acls` and changes nothing. `WAYBILL_KAFKA_SECURITY_PROTOCOL`,
`…_SASL_MECHANISM`, `…_USERNAME`, `…_PASSWORD` and `…_CA_FILE` say how Kafka is reached.

It never changes the number of partitions or replicas of an existing topic: with more partitions the keys of existing aggregates would move
to others. Such a difference is reported, and the exit status is 1.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.chassis.settings import environment
from shared.messaging import acls
from shared.messaging.security import NOT_SECURED, KafkaSecurity, of_environment

TOPIC_SETTING_SOURCE = 1
"""Kafka's code for a setting of the topic itself, not a default."""
REQUEST_TIMEOUT_MS = 15_000
VISIBLE_SECONDS = 15.0


class Topic(BaseModel):
    """One topic as the file describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    partitions: int = Field(ge=1)
    replication_factor: int = Field(ge=1)
    config: dict[str, str] = {}
    description: str = ""
    writers: list[str] = Field([], description="Services that may write.")
    readers: list[str] = Field(
        [], description="Services that may read, in groups whose names begin with the service's."
    )


class TopicsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    topics: list[Topic] = Field(min_length=1)


@dataclass(slots=True)
class Outcome:
    """What `apply` changed, and differences that it must not change; one sentence each."""

    changes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def load(path: Path) -> list[Topic]:
    """The topics of a file. Raises `ValueError` with the reason when the file is not valid."""
    topics = TopicsFile.model_validate(yaml.safe_load(path.read_text())).topics
    names = [topic.name for topic in topics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"described twice: {', '.join(twice)}")
    return topics


def access(topics: Sequence[Topic], *, prefix: str = "", users: Mapping[str, str] | None = None) -> list[acls.Acl]:
    """The rules of access to these topics."""
    described = [acls.TopicAccess(topic.name, topic.writers, topic.readers) for topic in topics]
    return acls.wanted(described, prefix=prefix, users=users)


async def apply(
    bootstrap_servers: str,
    topics: Sequence[Topic],
    *,
    security: KafkaSecurity = NOT_SECURED,
    replication_factor: int | None = None,
    prefix: str = "",
    rules: Sequence[acls.Acl] = (),
) -> Outcome:
    """Create missing topics, apply differing settings and `rules` of access. Raises `KafkaError`.

    `replication_factor` overrides the file's; the names in Kafka begin with `prefix`.
    """
    topics = [topic.model_copy(update={"name": f"{prefix}{topic.name}"}) for topic in topics]
    if replication_factor is not None:
        topics = [topic.model_copy(update={"replication_factor": replication_factor}) for topic in topics]
    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap_servers.split(","),
        client_id="topics",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **security.client_options,
    )
    outcome = Outcome()
    try:
        await admin.start()
        if rules:
            # Before the topics: who waits for one may use it at once.
            outcome.changes += await acls.apply(admin, rules, prefix=prefix)
        present = set(await admin.list_topics())
        existing = [topic for topic in topics if topic.name in present]
        missing = [topic for topic in topics if topic.name not in present]
        if missing:
            outcome.changes += await _create(admin, missing)
        if existing:
            outcome.differences += await _shape_differences(admin, existing)
            outcome.changes += await _set(admin, existing)
    finally:
        await admin.close()
    return outcome


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    answer = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, topic.replication_factor, topic_configs=topic.config)
            for topic in topics
        ],
        timeout_ms=REQUEST_TIMEOUT_MS,
    )
    changes = []
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if error is TopicAlreadyExistsError:
            continue  # Another process created it at the same time.
        if code:
            raise error(f"{name}: {error.__name__}")
        changes.append(f"created {name}")
    await _until_visible(admin, {topic.name for topic in topics})
    return changes


async def _until_visible(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until the topics have leaders: a new one has none for a moment, and the services start next."""
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            described = await admin.describe_topics(sorted(names))
            leaders = [partition["leader"] for topic in described for partition in topic["partitions"]]
            if all(topic["partitions"] for topic in described) and all(leader >= 0 for leader in leaders):
                return
            await asyncio.sleep(0.05)


async def _shape_differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    described = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics([t.name for t in topics])}
    differences = []
    for topic in topics:
        partitions = described[topic.name]
        if len(partitions) != topic.partitions:
            differences.append(f"{topic.name} has {len(partitions)} partitions, the file says {topic.partitions}")
        replicas = {len(partition["replicas"]) for partition in partitions}
        if replicas != {topic.replication_factor}:
            found = ", ".join(map(str, sorted(replicas)))
            differences.append(f"{topic.name} has {found} replicas, the file says {topic.replication_factor}")
    return differences


async def _set(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    current = await _settings(admin, [topic.name for topic in topics])
    changes: list[str] = []
    wanted: list[ConfigResource] = []
    for topic in topics:
        settings = current[topic.name]
        different = {name: value for name, value in topic.config.items() if settings.get(name) != value}
        if different:
            # This call replaces all settings of a topic, so it includes those that the file does not name.
            wanted.append(ConfigResource(ConfigResourceType.TOPIC, topic.name, {**settings, **different}))
            changes += [f"{topic.name}: {name} = {value}" for name, value in sorted(different.items())]
    if wanted:
        for answer in await admin.alter_configs(wanted):
            for code, message, _, name in answer.resources:
                if code:
                    raise for_code(code)(f"{name}: {message}")
    return changes


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> Mapping[str, dict[str, str]]:
    """The settings of each topic itself, without defaults."""
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise for_code(code)(f"{name}: {message}")
            found[name] = {
                setting: value for setting, value, _, source, *_ in entries if source == TOPIC_SETTING_SOURCE
            }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, 1 for a difference that it must not change, 2 for a failure."""
    parser = argparse.ArgumentParser(prog="python -m shared.messaging.topics", description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--bootstrap", default=os.environ.get("WAYBILL_KAFKA_BOOTSTRAP_SERVERS"), metavar="HOST:PORT")
    parser.add_argument(
        "--prefix", default=os.environ.get("WAYBILL_KAFKA_PREFIX", ""), help="begins every name in Kafka"
    )
    parser.add_argument("--replication-factor", type=int, help="instead of the file's, for clusters of another size")
    parser.add_argument("--access", action="store_true", help="make the rules of access, too")
    parser.add_argument("--print-access", action="store_true", help="print them for kafka-acls, and do nothing else")
    parser.add_argument(
        "--user", action="append", default=[], metavar="SERVICE=USER", help="a service's user in Kafka, if not its name"
    )
    options = parser.parse_args(arguments)
    if not options.bootstrap and not options.print_access:
        parser.error("name Kafka with --bootstrap or WAYBILL_KAFKA_BOOTSTRAP_SERVERS")
    try:
        topics = load(options.file)
        rules = access(topics, prefix=options.prefix, users=dict(one.split("=", 1) for one in options.user))
        if options.print_access:
            sys.stdout.writelines(f"{rule.as_arguments()}\n" for rule in rules)
            return 0
        outcome = asyncio.run(
            apply(
                options.bootstrap,
                topics,
                security=of_environment(environment()),
                replication_factor=options.replication_factor,
                prefix=options.prefix,
                rules=rules if options.access else (),
            )
        )
    except (OSError, KafkaError, ValidationError, ValueError, TimeoutError) as error:
        sys.stderr.write(f"topics: {error or type(error).__name__}\n")
        return 2
    for change in outcome.changes:
        sys.stdout.write(f"{change}\n")
    for difference in outcome.differences:
        sys.stderr.write(f"topics: {difference}; not changed\n")
    if not outcome.changes and not outcome.differences:
        sys.stdout.write(f"{len(topics)} topics are as they should be\n")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
