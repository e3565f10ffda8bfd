"""What a process reports of revocations: what it refuses from then on, and nothing that is long over."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from shared.access import authentication, projection
from shared.access.principal_store import load_principal
from shared.access.receipts import ReceiptReporter
from shared.events import text_headers
from shared.events.identity import ApiAccessRevoked
from shared.events.receipts import ReplicaReported
from shared.ids import new_id
from shared.messaging.producer import Producer
from shared.postgres.database import Database
from shared.postgres.driver_connection import connect
from tests.harness.client import refused
from tests.harness.edge_app import EdgeTestApp
from tests.harness.people import Merchant
from tests.harness.stack import BackingStack
from tests.harness.transport import read_records
from tests.harness.waiting import eventually


def revoking(edge: EdgeTestApp, merchant: Merchant, *, at: datetime | None = None) -> ApiAccessRevoked:
    """The event that ends a merchant's API access, as part of a revocation."""
    merchant.version += 1
    merchant.document["api_access"] = False
    state = edge.people.merchant_updated(merchant).data
    return ApiAccessRevoked(
        tenant_id=merchant.tenant.id,
        subject=merchant.id,
        sequence=merchant.version,
        time=at or datetime.now(UTC),
        revocation_id=new_id("rev"),
        data=state,
    )


async def test_only_revocations_of_the_last_day_are_notified_and_after_their_tenants(
    edge: EdgeTestApp, database_url: str
) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    recent, old = revoking(edge, merchant), revoking(edge, merchant, at=datetime.now(UTC) - timedelta(hours=25))
    heard: list[str] = []
    listening = Database(database_url, application_name="tests")
    connection = await connect(listening, "tests")
    try:
        await connection.add_listener(projection.CHANNEL, lambda *notice: heard.append(str(notice[3])))

        await edge.publish(old, recent)

        await eventually(lambda: len(heard) >= 2, what="the notifications")
    finally:
        await connection.close()
        await listening.close()
    assert heard[0] == merchant.tenant.id
    assert [projection.read_revocations(payload) for payload in heard] == [[], [(recent.revocation_id, recent.id)]]


async def test_who_asks_after_a_change_is_not_told_what_a_query_before_it_has_read(
    edge: EdgeTestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    has_read, may_return = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        principal = await load_principal(*arguments)
        has_read.set()
        await may_return.wait()
        return principal

    edge.service.access.forget("*")
    monkeypatch.setattr(authentication, "load_principal", slow)
    before = asyncio.create_task(merchant.api.get("/v1/anyone"))
    await has_read.wait()
    monkeypatch.undo()

    await merchant.update(api_access=False)

    refused(await merchant.api.get("/v1/anyone"), 403, "api_access_off")
    may_return.set()
    assert (await before).status_code == 200
    refused(await merchant.api.get("/v1/anyone"), 403, "api_access_off")


async def test_a_replica_reports_itself_what_it_refuses_and_that_it_stops(backing: BackingStack, topic: str) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    reporter = ReceiptReporter(producer, topic=topic, service="jobs", replica="jobs-1")
    revocation, event = new_id("rev"), new_id("evt")
    running = asyncio.create_task(reporter.run())
    await read_records(backing.kafka_bootstrap, topic, count=1)

    before = datetime.now(UTC)
    reporter.note([(revocation, event)])
    await read_records(backing.kafka_bootstrap, topic, count=2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    records = await read_records(backing.kafka_bootstrap, topic, count=3)
    first, second, last = [ReplicaReported.from_record(text_headers(one.headers), one.value or b"") for one in records]
    assert {one.subject for one in (first, second, last)} == {"jobs/jobs-1"}
    assert (first.data.applied, first.data.stopping, last.data.stopping) == ([], False, True)
    (applied,) = second.data.applied
    assert (applied.revocation_id, applied.event_id) == (revocation, event)
    assert before <= applied.applied_at <= datetime.now(UTC)


async def test_what_cannot_be_reported_is_reported_later(
    backing: BackingStack, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    reporter = ReceiptReporter(producer, topic=topic, service="jobs", replica="jobs-1")
    failed = asyncio.Event()

    async def away(*_: Any) -> Any:
        failed.set()
        raise KafkaError

    monkeypatch.setattr(producer, "send", away)
    reporter.note([(new_id("rev"), new_id("evt"))])
    running = asyncio.create_task(reporter.run())
    await failed.wait()
    monkeypatch.undo()

    reporter.note([(new_id("rev"), new_id("evt"))])

    (record,) = await read_records(backing.kafka_bootstrap, topic, count=1)
    assert len(ReplicaReported.from_record(text_headers(record.headers), record.value or b"").data.applied) == 2
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
