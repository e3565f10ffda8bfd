"""Attempts that begin before their event is stored: recorded as any other, made once, and left to Kafka when their worker dies."""

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
from tests.support.receiver import Receiver
from tests.support.servers import serving
from tests.support.suite import eventually
from tests.support.webhooks import Desk, Tenant, Webhooks, fact_of, job_created, open_database
from webhooks import consumers
from webhooks.directory import CHANNEL
from webhooks.fan_out import CONSUMER
from webhooks.worker import early


async def test_an_attempt_begins_before_its_event_is_stored_and_is_recorded_after(
    desk: Desk, receiver: Receiver
) -> None:
    await desk.endpoint(receiver.url())
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, dispatcher=worker)
        await receiver.next_request()
        stored_then = await desk.rows(
            "SELECT 1 FROM events UNION ALL SELECT 1 FROM deliveries UNION ALL SELECT 1 FROM flights"
        )
        await desk.publish(event, dispatcher=worker)
        delivery = await desk.finished(event.id)

    assert stored_then == []
    assert (delivery.status, delivery.attempts_made, delivery.response_status) == ("delivered", 1, 200)
    assert receiver.count == 1
    assert await desk.flights() == []
    assert await desk.queued() == []


async def test_an_attempt_that_lasts_beyond_the_storing_is_recorded_when_it_ends(desk: Desk) -> None:
    release = asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await release.wait()
        return web.Response()

    event = job_created(desk.tenant_id)
    async with serving(slow) as url, desk.delivering(lease_seconds=3) as worker:
        await desk.endpoint(url)
        await desk.arrive(event, dispatcher=worker)
        await until(lambda: requests == 1, what="the attempt is under way")
        # Longer than what lasts is left in a flight for, and than a lease.
        await asyncio.sleep(3.2)
        await desk.publish(event, dispatcher=worker)

        async def shown() -> bool:
            return await desk.delivery(event.id) is not None

        await eventually(shown, what="the delivery is shown")
        release.set()
        delivery = await desk.finished(event.id)

    assert (delivery.status, delivery.attempts_made, requests) == ("delivered", 1, 1)


async def test_a_failure_before_the_storing_is_followed_by_retries_after_it(desk: Desk, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500 if receiver.count < 2 else 200
    await desk.endpoint(receiver.url())
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, dispatcher=worker)
        await receiver.next_request()
        await desk.publish(event, dispatcher=worker)
        delivery = await desk.finished(event.id)

    assert [attempt.response_status for attempt in await desk.attempts(delivery)] == [500, 200]
    assert receiver.count == 2


async def test_an_event_that_kafka_holds_twice_is_sent_once(desk: Desk, receiver: Receiver) -> None:
    await desk.endpoint(receiver.url())
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, event, dispatcher=worker)
        await desk.publish(event, dispatcher=worker)
        await desk.finished(event.id)
        await desk.arrive(event, dispatcher=worker)
        await desk.publish(event, dispatcher=worker)

    assert receiver.count == 1


async def test_an_event_that_others_have_stored_keeps_its_one_record(desk: Desk, receiver: Receiver) -> None:
    await desk.endpoint(receiver.url())
    event = job_created(desk.tenant_id)

    async with desk.delivering() as other, desk.delivering() as worker:
        await desk.publish(event, dispatcher=other)
        first = await desk.finished(event.id)
        await desk.arrive(event, dispatcher=worker)
        await receiver.wait_for(lambda: receiver.count == 2)
        await desk.publish(event, dispatcher=worker)

    assert worker.early.begun(first.event_id) == ()
    assert (await desk.delivery(event.id)).started_at == first.started_at
    assert await desk.flights() == []


async def test_what_is_never_stored_here_is_forgotten_and_changes_nothing(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.endpoint(receiver.url())
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, dispatcher=worker)
        await receiver.next_request()
        monkeypatch.setattr(early, "EARLY_SECONDS", 0.0)
        await until(lambda: not worker.early.is_whole([to_uuid(event.id)]), what="it is forgotten")
        assert worker.early.begun(to_uuid(event.id)) == ()
        assert await desk.rows("SELECT 1 FROM deliveries") == []
        await desk.publish(event, dispatcher=worker)
        delivery = await desk.finished(event.id)

    assert (delivery.status, delivery.attempts_made, receiver.count) == ("delivered", 1, 2)


async def test_only_as_many_begin_as_there_are_places_and_each_is_made_once(desk: Desk, receiver: Receiver) -> None:
    endpoints = [await desk.endpoint(receiver.url(f"/{number}")) for number in range(3)]
    events = [job_created(desk.tenant_id) for _ in range(40)]

    async with desk.delivering(in_flight_max=16, endpoint_in_flight_max=4) as worker:
        await desk.arrive(*events, dispatcher=worker)
        begun = sum(len(worker.early.begun(to_uuid(event.id))) for event in events)
        await desk.publish(*events, dispatcher=worker)
        await eventually(lambda: _delivered(desk, len(events) * len(endpoints)), what="all are delivered")

    assert 0 < begun <= 12
    arrived = Counter((request.path, request.webhook_id) for request in receiver.requests)
    assert set(arrived.values()) == {1}
    assert len(arrived) == len(events) * len(endpoints)


async def test_in_the_order_of_jobs_nothing_begins_early(desk: Desk, receiver: Receiver) -> None:
    await desk.endpoint(receiver.url("/in-order"), ordered_by_job=True)
    await desk.endpoint(receiver.url("/any"))
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, dispatcher=worker)
        await receiver.next_request()
        assert len(worker.early.begun(to_uuid(event.id))) == 1
        assert not worker.early.is_whole([to_uuid(event.id)])
        assert receiver.at("/in-order") == []
        await desk.publish(event, dispatcher=worker)
        await eventually(lambda: _delivered(desk, 2), what="both are delivered")

    assert (len(receiver.at("/in-order")), len(receiver.at("/any"))) == (1, 1)


async def test_what_was_sent_is_recorded_whatever_became_of_the_endpoints_meanwhile(
    desk: Desk, receiver: Receiver
) -> None:
    gone = await desk.endpoint(receiver.url("/gone"))
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await desk.arrive(event, dispatcher=worker)
        await receiver.next_request()
        await desk.rows(
            "UPDATE endpoints SET enabled = false, disabled_reason = 'requested', version = version + 1, updated_at = now() RETURNING 1"
        )
        new = await desk.endpoint(receiver.url("/new"))
        await desk.publish(event, dispatcher=worker)
        await eventually(lambda: _delivered(desk, 2), what="both are delivered")

    assert {path: len(receiver.at(path)) for path in ("/gone", "/new")} == {"/gone": 1, "/new": 1}
    assert (await desk.delivery(event.id, gone)).status == (await desk.delivery(event.id, new)).status == "delivered"


async def test_nothing_begins_early_while_a_change_is_on_its_way(desk: Desk, receiver: Receiver) -> None:
    endpoint_id = to_uuid(await desk.endpoint(receiver.url()))
    event = job_created(desk.tenant_id)

    async with desk.delivering() as worker:
        await until(lambda: desk.directory.is_current, what="the directory is current")
        # Whoever reads the endpoints waits for this transaction; the notice of a change comes all the same.
        async with desk.database.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE endpoints IN ACCESS EXCLUSIVE MODE"))
            await desk.rows(
                "SELECT pg_notify(:channel, :endpoint_id || ' ' || nextval('endpoint_changes'))",
                channel=CHANNEL,
                endpoint_id=str(endpoint_id),
            )
            await until(lambda: not desk.directory.is_current, what="the notice has come")
            consumers.on_arrival(directory=desk.directory, taker=worker)([fact_of(event)])
            assert worker.early.begun(to_uuid(event.id)) == ()
        await desk.arrive(event, dispatcher=worker)
        assert desk.directory.target(endpoint_id) is not None
        await receiver.next_request()


async def test_a_worker_that_stops_leaves_the_event_to_others(desk: Desk) -> None:
    requests = 0

    async def hangs_once(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests == 1:
            await asyncio.sleep(60)
        return web.Response()

    event = job_created(desk.tenant_id)
    async with serving(hangs_once) as url:
        await desk.endpoint(url)
        async with desk.delivering() as first:
            await desk.arrive(event, dispatcher=first)
            await until(lambda: requests == 1, what="the attempt is under way")
        assert await desk.rows("SELECT 1 FROM deliveries UNION ALL SELECT 1 FROM delivery_due") == []
        async with desk.delivering() as second:
            await desk.publish(event, dispatcher=second)
            delivery = await desk.finished(event.id)

    assert (delivery.status, requests) == ("delivered", 2)


async def test_receivers_have_an_event_although_it_cannot_be_stored_for_a_while(
    service: Webhooks, tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.endpoint(receiver.url())
    database = open_database(service.settings.database_url)
    published: list[str] = []

    async def another_arrived() -> bool:
        # Of what is published while partitions are being handed out nobody knows whether it is new.
        published.append((await tenant.publish_job()).id)
        await asyncio.sleep(0.1)
        return receiver.count > 0

    try:
        # Other tests may have left much in the topic.
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
    values = {"consumer": CONSUMER, "topic": jobs.TOPIC, "since": since - timedelta(seconds=2)}
    async with database.reading() as session:
        return (await session.execute(text(query), values)).first() is not None


async def until(condition: Callable[[], bool], *, what: str) -> None:
    async def held() -> bool:
        return condition()

    await eventually(held, what=what)


async def _delivered(desk: Desk, count: int) -> bool:
    rows = await desk.rows("SELECT count(*) AS found FROM deliveries WHERE status = 'delivered'")
    return bool(rows[0].found == count)
