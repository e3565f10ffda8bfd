"""Attempts that begin before their event is stored: made once and recorded like all others; if the worker dies Kafka has the event."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from sqlalchemy import text

from shared.events import jobs
from shared.ids import to_uuid
from shared.postgres.database import Database
from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.services import open_database
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, Tenant, Webhooks, incoming_event, job_created
from webhooks.dispatch import prestore
from webhooks.endpoints.cache import CHANNEL
from webhooks.events import consumer
from webhooks.events.consumer import CONSUMER_GROUP


async def test_an_attempt_begins_before_its_event_is_stored_and_is_recorded_after(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url())
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, dispatcher=worker)
        await receiver.next_request()
        stored_then = await harness.rows(
            "SELECT 1 FROM events UNION ALL SELECT 1 FROM deliveries UNION ALL SELECT 1 FROM flights"
        )
        await harness.publish(event, dispatcher=worker)
        delivery = await harness.finished(event.id)

    assert stored_then == []
    assert (delivery.status, delivery.attempts_made, delivery.response_status) == ("delivered", 1, 200)
    assert receiver.count == 1
    assert await harness.batch_leases() == []
    assert await harness.queued() == []


async def test_an_attempt_that_ends_after_its_event_is_stored_is_recorded(harness: DeliveryHarness) -> None:
    release = asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await release.wait()
        return web.Response()

    event = job_created(harness.tenant_id)
    async with serving(slow) as url, harness.delivering(lease_seconds=3) as worker:
        await harness.endpoint(url)
        await harness.arrive(event, dispatcher=worker)
        await until(lambda: requests == 1, what="the attempt is under way")
        # Longer than a slow attempt stays in a batch lease, and longer than a lease.
        await asyncio.sleep(3.2)
        await harness.publish(event, dispatcher=worker)

        async def shown() -> bool:
            return await harness.delivery(event.id) is not None

        await eventually(shown, what="the delivery is shown")
        release.set()
        delivery = await harness.finished(event.id)

    assert (delivery.status, delivery.attempts_made, requests) == ("delivered", 1, 1)


async def test_a_failure_before_the_event_is_stored_is_retried_after_it(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500 if receiver.count < 2 else 200
    await harness.endpoint(receiver.url())
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, dispatcher=worker)
        await receiver.next_request()
        await harness.publish(event, dispatcher=worker)
        delivery = await harness.finished(event.id)

    assert [attempt.response_status for attempt in await harness.attempts(delivery)] == [500, 200]
    assert receiver.count == 2


async def test_an_event_that_kafka_has_twice_is_sent_once(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.endpoint(receiver.url())
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, event, dispatcher=worker)
        await harness.publish(event, dispatcher=worker)
        await harness.finished(event.id)
        await harness.arrive(event, dispatcher=worker)
        await harness.publish(event, dispatcher=worker)

    assert receiver.count == 1


async def test_an_event_that_another_process_has_stored_keeps_its_record(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url())
    event = job_created(harness.tenant_id)

    async with harness.delivering() as other, harness.delivering() as worker:
        await harness.publish(event, dispatcher=other)
        first = await harness.finished(event.id)
        await harness.arrive(event, dispatcher=worker)
        await receiver.wait_for(lambda: receiver.count == 2)
        await harness.publish(event, dispatcher=worker)

    assert worker.prestore.begun(first.event_id) == ()
    assert (await harness.delivery(event.id)).started_at == first.started_at
    assert await harness.batch_leases() == []


async def test_an_event_that_is_never_stored_here_is_forgotten(
    harness: DeliveryHarness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.endpoint(receiver.url())
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, dispatcher=worker)
        await receiver.next_request()
        monkeypatch.setattr(prestore, "PRESTORE_SECONDS", 0.0)
        await until(lambda: not worker.prestore.is_whole([to_uuid(event.id)]), what="it is forgotten")
        assert worker.prestore.begun(to_uuid(event.id)) == ()
        assert await harness.rows("SELECT 1 FROM deliveries") == []
        await harness.publish(event, dispatcher=worker)
        delivery = await harness.finished(event.id)

    assert (delivery.status, delivery.attempts_made, receiver.count) == ("delivered", 1, 2)


async def test_only_as_many_begin_as_there_are_slots_and_each_is_made_once(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    endpoints = [await harness.endpoint(receiver.url(f"/{number}")) for number in range(3)]
    events = [job_created(harness.tenant_id) for _ in range(40)]

    async with harness.delivering(in_flight_max=16, endpoint_in_flight_max=4) as worker:
        await harness.arrive(*events, dispatcher=worker)
        begun = sum(len(worker.prestore.begun(to_uuid(event.id))) for event in events)
        await harness.publish(*events, dispatcher=worker)
        await eventually(lambda: _delivered(harness, len(events) * len(endpoints)), what="all are delivered")

    assert 0 < begun <= 12
    arrived = Counter((request.path, request.webhook_id) for request in receiver.requests)
    assert set(arrived.values()) == {1}
    assert len(arrived) == len(events) * len(endpoints)


async def test_nothing_begins_before_its_event_is_stored_for_an_ordered_endpoint(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url("/in-order"), ordered_by_job=True)
    await harness.endpoint(receiver.url("/any"))
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, dispatcher=worker)
        await receiver.next_request()
        assert len(worker.prestore.begun(to_uuid(event.id))) == 1
        assert not worker.prestore.is_whole([to_uuid(event.id)])
        assert receiver.at("/in-order") == []
        await harness.publish(event, dispatcher=worker)
        await eventually(lambda: _delivered(harness, 2), what="both are delivered")

    assert (len(receiver.at("/in-order")), len(receiver.at("/any"))) == (1, 1)


async def test_a_sent_delivery_is_recorded_even_if_its_endpoint_has_changed(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    gone = await harness.endpoint(receiver.url("/gone"))
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await harness.arrive(event, dispatcher=worker)
        await receiver.next_request()
        await harness.rows(
            "UPDATE endpoints SET enabled = false, disabled_reason = 'requested', version = version + 1, updated_at = now() RETURNING 1"
        )
        new = await harness.endpoint(receiver.url("/new"))
        await harness.publish(event, dispatcher=worker)
        await eventually(lambda: _delivered(harness, 2), what="both are delivered")

    assert {path: len(receiver.at(path)) for path in ("/gone", "/new")} == {"/gone": 1, "/new": 1}
    assert (
        (await harness.delivery(event.id, gone)).status == (await harness.delivery(event.id, new)).status == "delivered"
    )


async def test_nothing_begins_early_while_an_endpoint_change_is_pending(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    endpoint_id = to_uuid(await harness.endpoint(receiver.url()))
    event = job_created(harness.tenant_id)

    async with harness.delivering() as worker:
        await until(lambda: harness.endpoint_cache.is_current, what="the endpoint cache is current")
        # Readers of the table wait for this transaction, but the notification of the change comes.
        async with harness.database.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE endpoints IN ACCESS EXCLUSIVE MODE"))
            await harness.rows(
                "SELECT pg_notify(:channel, :endpoint_id || ' ' || nextval('endpoint_changes'))",
                channel=CHANNEL,
                endpoint_id=str(endpoint_id),
            )
            await until(lambda: not harness.endpoint_cache.is_current, what="the notification has come")
            consumer.on_new_events(endpoint_cache=harness.endpoint_cache, dispatcher=worker)([incoming_event(event)])
            assert worker.prestore.begun(to_uuid(event.id)) == ()
        await harness.arrive(event, dispatcher=worker)
        assert harness.endpoint_cache.target(endpoint_id) is not None
        await receiver.next_request()


async def test_a_worker_that_stops_leaves_the_event_to_others(harness: DeliveryHarness) -> None:
    requests = 0

    async def hangs_once(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests == 1:
            await asyncio.sleep(60)
        return web.Response()

    event = job_created(harness.tenant_id)
    async with serving(hangs_once) as url:
        await harness.endpoint(url)
        async with harness.delivering() as first:
            await harness.arrive(event, dispatcher=first)
            await until(lambda: requests == 1, what="the attempt is under way")
        assert await harness.rows("SELECT 1 FROM deliveries UNION ALL SELECT 1 FROM delivery_due") == []
        async with harness.delivering() as second:
            await harness.publish(event, dispatcher=second)
            delivery = await harness.finished(event.id)

    assert (delivery.status, requests) == ("delivered", 2)


async def test_receivers_get_an_event_that_cannot_be_stored_for_a_while(
    service: Webhooks, tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.create_endpoint(receiver.url())
    database = open_database(service.settings.database_url)
    published: list[str] = []

    async def another_arrived() -> bool:
        # It is unknown whether records published during a rebalance are new.
        published.append((await tenant.publish_job()).id)
        await asyncio.sleep(0.1)
        return receiver.count > 0

    try:
        # Other tests may have left many records in the topic.
        await eventually(lambda: _caught_up(database, datetime.now(UTC)), seconds=60, what="the consumer has caught up")
        async with database.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE events IN EXCLUSIVE MODE"))
            await eventually(another_arrived, what="an event has arrived")
            mine = text("SELECT count(*) FROM events WHERE tenant_id = :tenant_id")
            stored_then = (await connection.execute(mine, {"tenant_id": to_uuid(tenant.id)})).scalar_one()
        rows = await tenant.delivered(len(published))
    finally:
        await database.close()

    assert stored_then == 0
    assert {row["event_id"] for row in rows} == set(published)
    assert Counter(request.webhook_id for request in receiver.requests) == dict.fromkeys(published, 1)


async def _caught_up(database: Database, since: datetime) -> bool:
    query = "SELECT 1 FROM consumer_progress WHERE consumer = :consumer AND topic = :topic AND lag = 0 AND caught_up_at > :since"
    values = {"consumer": CONSUMER_GROUP, "topic": jobs.TOPIC, "since": since - timedelta(seconds=2)}
    async with database.reading() as session:
        return (await session.execute(text(query), values)).first() is not None


async def until(condition: Callable[[], bool], *, what: str) -> None:
    async def held() -> bool:
        return condition()

    await eventually(held, what=what)


async def _delivered(harness: DeliveryHarness, count: int) -> bool:
    rows = await harness.rows("SELECT count(*) AS found FROM deliveries WHERE status = 'delivered'")
    return bool(rows[0].found == count)
