"""Kafka of the private stack: what each service's user may do, what strangers may, and what a forged signing key is good for.

The stack is as `make up` makes it: its own broker, users, certificates and rules of access.
"""

import asyncio
import base64
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import jwt
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.devstack import demo_data
from deploy.devstack.broker import ADMIN
from deploy.devstack.processes import LOOPBACK
from deploy.devstack.settings import SERVICES, StackSettings
from shared.access import tokens
from shared.access.signing_roots import SigningKeyFacts, SigningRoot
from shared.events.identity import SigningKeyPublished, SigningKeyState
from shared.messaging import dead_letters, topics
from shared.messaging.security import KafkaSecurity
from tests.harness.stack import TOPICS_FILE
from tests.harness.waiting import eventually

TOPICS = topics.load(TOPICS_FILE)
NOT_ALLOWED = TopicAuthorizationFailedError.errno
CLIENT_SECONDS = 10
API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
"""Length, request 18, version 0, number 1, no name."""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def security_of(stack: StackSettings, user: str, **changes: Any) -> KafkaSecurity:
    values = {"username": user, "password": stack.secrets["kafka_passwords"][user], "ca_file": stack.kafka_ca_file}
    return KafkaSecurity(**{"protocol": "SASL_SSL", **values, **changes})


@asynccontextmanager
async def client_of(kind: Any, stack: StackSettings, security: KafkaSecurity, **options: Any) -> AsyncIterator[Any]:
    """A client of this kind, started."""
    client = kind(
        bootstrap_servers=stack.kafka,
        request_timeout_ms=CLIENT_SECONDS * 1000,
        **security.client_options,
        **options,
    )
    try:
        await (client.bootstrap() if kind is AIOKafkaClient else client.start())
        yield client
    finally:
        await (client.stop() if hasattr(client, "stop") else client.close())


async def writable(stack: StackSettings, user: str) -> set[str]:
    """The topics to which this user can write a record, of a type that nobody reads."""
    found = set()
    async with client_of(AIOKafkaProducer, stack, security_of(stack, user), enable_idempotence=False) as producer:
        for topic in TOPICS:
            try:
                await producer.send_and_wait(topic.name, b"{}", partition=0, headers=[("ce_type", b"tests.probed")])
            except TopicAuthorizationFailedError:
                continue
            found.add(topic.name)
    return found


async def readable(stack: StackSettings, user: str) -> set[str]:
    """The topics from which this user gets records."""
    found = set()
    async with client_of(AIOKafkaClient, stack, security_of(stack, user)) as client:
        (node,) = client.cluster.brokers()
        for topic in TOPICS:
            answer = await client.send(node.nodeId, FetchRequest(0, 0, 1024, 0, [(topic.name, [(0, 0, 1024)])]))
            (((_, (partition, *_)),),) = [[(name, list(parts)) for name, parts in answer.topics]]
            assert partition[1] in (0, NOT_ALLOWED), (topic.name, partition)
            if partition[1] == 0:
                found.add(topic.name)
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_writes_and_reads_what_is_its_own_and_nothing_else(
    running: StackSettings, service: str
) -> None:
    assert await writable(running, service) == {topic.name for topic in TOPICS if service in topic.writers}
    assert await readable(running, service) == {topic.name for topic in TOPICS if service in topic.readers}


async def test_no_service_sees_or_moves_anothers_consumer_groups(running: StackSettings) -> None:
    group, topic = "webhooks.access.identity.events.v1", TopicPartition("identity.events.v1", 0)
    async with client_of(AIOKafkaAdminClient, running, security_of(running, "jobs")) as admin:
        with pytest.raises(GroupAuthorizationFailedError):
            await admin.list_consumer_group_offsets(group, partitions=[topic])
    async with client_of(
        AIOKafkaConsumer, running, security_of(running, "jobs"), group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([topic])
        with pytest.raises(GroupAuthorizationFailedError):
            await consumer.commit({topic: 0})


async def test_no_service_can_give_itself_more(running: StackSettings) -> None:
    rules = [rule for rule in topics.access(TOPICS, users={"identity": "jobs"}) if rule.user == "jobs"]

    with pytest.raises(KafkaError, match="Authorization"):
        await topics.apply(running.kafka, TOPICS[:1], security=security_of(running, "jobs"), rules=rules)
    more = topics.Topic(name="mine.v1", partitions=1, replication_factor=1)
    with pytest.raises(KafkaError, match="Authorization"):
        await topics.apply(running.kafka, [more], security=security_of(running, "jobs"))


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "PLAINTEXT", "username": None, "password": None, "ca_file": None},
        {"protocol": "SSL", "username": None, "password": None},
        {"protocol": "SASL_PLAINTEXT", "ca_file": None},
        {"password": "a guess"},
        {"ca_file": None},
    ],
    ids=["in the clear", "nobody", "no TLS", "a wrong password", "an authority of somebody else"],
)
async def test_strangers_are_not_heard(running: StackSettings, changes: dict[str, Any]) -> None:
    with pytest.raises((KafkaError, TimeoutError)):
        async with (
            asyncio.timeout(CLIENT_SECONDS),
            client_of(AIOKafkaAdminClient, running, security_of(running, ADMIN, **changes)) as admin,
        ):
            await admin.list_topics()


async def test_the_controller_takes_none_but_brokers(running: StackSettings) -> None:
    assert await says_what_it_can_do(running, "kafka")
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await says_what_it_can_do(running, "kafka controller")


async def says_what_it_can_do(stack: StackSettings, listener: str) -> bytes:
    """The answer of a listener to the first question of any client, in which it has not said who it is."""
    trusting = ssl.create_default_context(cafile=stack.kafka_ca_file)
    reader, writer = await asyncio.open_connection(LOOPBACK, stack.port(listener), ssl=trusting)
    try:
        writer.write(API_VERSIONS)
        return await reader.readexactly(4)
    finally:
        writer.close()


async def test_a_forged_signing_key_opens_nothing_although_kafka_takes_it(running: StackSettings) -> None:
    demo_data.ensure(running, lambda _: None)
    content = json.loads(running.demo_file.read_text())
    forged, key_id = Ed25519PrivateKey.generate(), f"sig_{secrets.token_hex(8)}"
    facts = SigningKeyFacts(key_id, 1, tokens.public_text(forged), None)
    genuine = SigningRoot(base64.b64decode(running.secrets["signing_root_key"]))
    proofs = [
        None,
        SigningRoot(bytes(32)).prove(facts),
        # Of another key: as it can be read from the topic.
        genuine.prove(SigningKeyFacts("sig_other", 1, genuine.public_text, None)),
    ]
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        owner = {"tenant": content["tenant"]["id"], **content["owner"]}
        session = (await client.post(f"{running.url('identity')}/v1/sessions", json=owner)).json()
        claims = jwt.decode(session["token"], options={"verify_signature": False})
        token = jwt.encode(claims, forged, algorithm=tokens.ALGORITHM, headers={"kid": key_id})
        refused = {service: await keys_refused(client, running, service) for service in SERVICES}

        async with client_of(AIOKafkaProducer, running, security_of(running, "identity")) as producer:
            for proof in proofs:
                state = SigningKeyState(
                    key_id=key_id, algorithm=tokens.ALGORITHM, public_key=facts.public_key, proof=proof
                )
                event = SigningKeyPublished(tenant_id=None, subject=key_id, sequence=1, data=state)
                await producer.send_and_wait(event.topic, event.value(), key=key_id.encode(), headers=event.headers())

        for service in ("billing", "jobs", "webhooks"):

            async def all_refused(service: str) -> bool:
                return await keys_refused(client, running, service) >= refused[service] + len(proofs)

            await eventually(partial(all_refused, service), what=f"{service} has refused the keys")
        for service in SERVICES:
            url = (
                f"{running.url(service)}/v1/auth/test"
                if service == "identity"
                else f"{running.url(service)}/v1/permissions"
            )
            for presented, status in ((token, 401), (session["token"], 200)):
                answer = await client.get(url, headers={"Authorization": f"Bearer {presented}"})
                assert answer.status_code == status, (service, answer.text)
                assert status == 200 or answer.json()["code"] == "token_key_unknown"
    letters = await dead_letters.list_dead_letters(
        running.kafka, "identity.events.v1.dlq", security=security_of(running, ADMIN)
    )
    of_forged = [letter for letter in letters if letter["key"] == key_id]
    assert {letter["consumer"] for letter in of_forged} == {"billing.access", "jobs.access", "webhooks.access"}
    assert len(of_forged) == 3 * len(proofs)


async def keys_refused(client: httpx.AsyncClient, stack: StackSettings, service: str) -> float:
    """How many signing keys a service says that it has refused."""
    lines = (await client.get(f"{stack.url(service)}/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith("waybill_signing_keys_refused_total ")]
    return float(line.split()[1])
