"""Rules of access: who may do what with which topic, as `topics.yaml` says."""

import json

import pytest

from shared.messaging import acls, dead_letters, topics
from shared.messaging.acls import Acl
from tests.harness.documents import SERVICES, path_of
from tests.harness.stack import TOPICS_FILE

TOPICS = {topic.name: topic for topic in topics.load(TOPICS_FILE)}


def test_the_file_says_who_really_writes_and_reads() -> None:
    for name, topic in TOPICS.items():
        if name.endswith(dead_letters.SUFFIX):
            # Consumers write what they could not read; only the operator reads it.
            origin = TOPICS[name.removesuffix(dead_letters.SUFFIX)]
            assert (topic.writers, topic.readers) == (origin.readers, []), name
            continue
        actions: dict[str, set[str]] = {"send": set(), "receive": set()}
        for service in SERVICES:
            document = json.loads(path_of(service, "asyncapi").read_text())
            channels = {f"#/channels/{key}": one["address"] for key, one in document["channels"].items()}
            for operation in document["operations"].values():
                if channels[operation["channel"]["$ref"]] == name:
                    actions[operation["action"]].add(service)
        assert (set(topic.writers), set(topic.readers)) == (actions["send"], actions["receive"]), name


def test_a_service_may_do_what_is_its_own_and_nothing_else() -> None:
    rules = topics.access(list(TOPICS.values()))

    assert [str(rule) for rule in rules if rule.user == "jobs"] == [
        "jobs may read group that begins with jobs.",
        "jobs may read topic billing.events.v1",
        "jobs may read topic identity.events.v1",
        "jobs may write topic access.receipts.v1",
        "jobs may write topic access.usage.v1",
        "jobs may write topic audit.events.v1",
        "jobs may write topic billing.events.v1.dlq",
        "jobs may write topic identity.events.v1.dlq",
        "jobs may write topic jobs.events.v1",
    ]
    assert {rule.user for rule in rules} == set(SERVICES)


def test_names_have_the_prefix_and_users_may_have_other_names() -> None:
    topic = acls.TopicAccess("notes.v1", writers=["jobs"], readers=["webhooks"])

    assert acls.wanted([topic], prefix="a.", users={"jobs": "sa-1"}) == [
        Acl("sa-1", "Write", "topic", "a.notes.v1"),
        Acl("webhooks", "Read", "group", "a.webhooks.", "prefixed"),
        Acl("webhooks", "Read", "topic", "a.notes.v1"),
    ]


def test_the_command_prints_the_rules_for_kafkas_own_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.main([str(TOPICS_FILE), "--print-access", "--user", "jobs=sa-1"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "--add --allow-principal User:sa-1 --operation Write --topic jobs.events.v1" in lines
    assert (
        "--add --allow-principal User:webhooks --operation Read --group webhooks. --resource-pattern-type prefixed"
        in lines
    )
