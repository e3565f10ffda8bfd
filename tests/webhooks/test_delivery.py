"""From the queue to the receiver: sent at least once, recorded once, and no endpoint delayed by another."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from deploy.devstack.forks import Forker, start
from shared.ids import to_uuid
from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, job_created, typed
from webhooks.deliveries import results
from webhooks.deliveries.results import AttemptResult
from webhooks.deliveries.rules import Decision
from webhooks.http_client.responses import Outcome
from webhooks.queue import due, leases
from webhooks.queue.due import FIRST_ENDPOINT


async def test_a_delivery_is_made_recorded_and_leaves_the_queue(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.endpoint(receiver.url())

    async with harness.delivering() as dispatcher:
        event_id = await harness.publish_job(dispatcher)
        delivery = await harness.finished(event_id)

    assert delivery.status == "delivered"
    assert (delivery.attempts_made, delivery.response_status, delivery.cause) == (1, 200, None)
    assert await harness.queued() == []
    assert receiver.requests[0].webhook_id == event_id
    (attempt,) = await harness.attempts(delivery)
    assert (attempt.number, attempt.response_status, attempt.cause) == (1, 200, None)


async def test_a_failed_delivery_comes_again_with_the_same_id_and_body(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500 if receiver.count < 3 else 204
    await harness.endpoint(receiver.url())

    async with harness.delivering() as dispatcher:
        delivery = await harness.finished(await harness.publish_job(dispatcher))

    assert delivery.status == "delivered"
    assert [attempt.response_status for attempt in await harness.attempts(delivery)] == [500, 500, 204]
    assert len({request.webhook_id for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1


async def test_a_delivery_is_given_up_after_its_last_attempt(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    await harness.endpoint(receiver.url())

    async with harness.delivering(schedule=(0.02, 0.02)) as dispatcher:
        delivery = await harness.finished(await harness.publish_job(dispatcher))

    assert (delivery.failure, delivery.attempts_made, delivery.next_attempt_at) == ("exhausted", 3, None)
    assert receiver.count == 3
    assert await harness.queued() == []


async def test_a_receiver_that_names_a_time_is_not_asked_before(harness: DeliveryHarness) -> None:
    received_at: list[float] = []

    async def busy(_: web.Request) -> web.Response:
        received_at.append(time.monotonic())
        if len(received_at) == 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if len(received_at) == 2:
            at = datetime.now(UTC) + timedelta(seconds=2)
            return web.Response(status=503, headers={"Retry-After": format_datetime(at, usegmt=True)})
        return web.Response()

    async with serving(busy) as url, harness.delivering(schedule=(0.01, 0.01)) as dispatcher:
        await harness.endpoint(url)
        await harness.finished(await harness.publish_job(dispatcher))

    # A date has no fractions of a second: two seconds may become a little more than one.
    assert received_at[1] - received_at[0] >= 1.0
    assert received_at[2] - received_at[1] >= 0.9


async def test_a_receiver_that_is_gone_disables_its_endpoint(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda _: 410
    endpoint_id = await harness.endpoint(receiver.url())

    async with harness.delivering() as dispatcher:
        delivery = await harness.finished(await harness.publish_job(dispatcher))
        await harness.publish(job_created(harness.tenant_id), dispatcher=dispatcher)

    assert delivery.failure == "gone"
    (endpoint,) = await harness.rows("SELECT enabled, disabled_reason, version FROM endpoints")
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.version) == (False, "gone", 2)
    last = (await harness.published())[-1]
    assert (last["type"], last["endpoint_id"], last["reason"]) == ("endpoint.disabled", endpoint_id, "gone")
    assert receiver.count == 1


async def test_what_is_queued_for_a_disabled_endpoint_is_given_up(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.endpoint(receiver.url("/disabled"))
    event_id = await harness.publish_job()
    await harness.rows("UPDATE endpoints SET enabled = false RETURNING 1")

    async with harness.delivering():
        delivery = await harness.finished(event_id)

    assert (delivery.failure, delivery.attempts_made) == ("endpoint_disabled", 0)
    assert receiver.count == 0


async def test_what_is_queued_is_delivered_by_a_worker_that_was_not_there(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url("/a"))
    await harness.endpoint(receiver.url("/b"))
    event_ids = [await harness.publish_job() for _ in range(40)]

    async with harness.delivering():
        await receiver.wait_for(lambda: receiver.count == 80)
        await eventually(lambda: nothing_queued(harness), what="the queue is empty")

    per_path = {path: Counter(request.webhook_id for request in receiver.at(path)) for path in ("/a", "/b")}
    assert per_path["/a"] == per_path["/b"] == Counter(event_ids)


async def test_two_workers_share_the_queue_without_sending_twice(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.endpoint(receiver.url())
    await harness.publish(*(job_created(harness.tenant_id) for _ in range(300)))

    async with harness.delivering(), harness.delivering():
        await eventually(lambda: nothing_queued(harness), what="the queue is empty")

    assert receiver.count == 300
    assert len({request.webhook_id for request in receiver.requests}) == 300


async def test_a_hanging_receiver_delays_no_other(harness: DeliveryHarness, receiver: Receiver) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving(hang) as hanging, harness.delivering(timeout_seconds=30) as dispatcher:
        await harness.endpoint(hanging)
        await harness.endpoint(receiver.url())
        # Far more than there are slots: without a limit for each endpoint the hanging one would hold all of them until its time-outs.
        for round_number in range(1, 31):
            events = [job_created(harness.tenant_id) for _ in range(10)]
            await harness.publish(*events, dispatcher=dispatcher)
            await receiver.wait_for(partial(has_received, receiver, round_number * 10), timeout_seconds=15)

    assert receiver.count == 300


async def test_retries_do_not_take_the_slots_of_first_attempts(harness: DeliveryHarness, receiver: Receiver) -> None:
    release = asyncio.Event()

    async def first_fail_then_hang(request: web.Request) -> web.Response:
        if request.headers["webhook-id"] in seen:
            await release.wait()
            return web.Response()
        seen.add(request.headers["webhook-id"])
        return web.Response(status=500)

    seen: set[str] = set()
    async with (
        serving(first_fail_then_hang) as url,
        harness.delivering(
            timeout_seconds=60, in_flight_max=8, endpoint_in_flight_max=8, breaker_failures=1000
        ) as worker,
    ):
        await harness.endpoint(url)
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(40)), dispatcher=worker)
        await eventually(lambda: asyncio.sleep(0, len(seen) == 40), what="each had its first attempt")
        await harness.endpoint(receiver.url())
        await harness.publish(job_created(harness.tenant_id), dispatcher=worker)
        # The retries hang until they are released, or longer than this test waits.
        await receiver.next_request(timeout_seconds=15)
        release.set()
        await eventually(lambda: nothing_queued(harness), what="all retries were made")


async def test_a_worker_killed_in_flight_loses_nothing(
    harness: DeliveryHarness, database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    arrived = asyncio.Event()
    answered: list[str] = []

    async def hang_once(request: web.Request) -> web.Response:
        if not arrived.is_set():
            arrived.set()
            await asyncio.sleep(30)
        answered.append(request.headers["webhook-id"])
        return web.Response()

    async with serving(hang_once) as url:
        await harness.endpoint(url)
        event_id = await harness.publish_job()
        command = ["tests.harness.webhooks", database_url, harness.sealing_keys]
        worker = start(command, {}, output=tmp_path / "log", forker=forker)
        try:
            await asyncio.wait_for(arrived.wait(), 60)
        finally:
            worker.kill()
            worker.wait(10)
        (lease,) = await harness.queued()
        assert lease.lease_token is not None

        async with harness.delivering():
            delivery = await harness.finished(event_id)

    assert delivery.status == "delivered"
    assert answered == [event_id]


async def test_a_worker_stopped_in_order_finishes_attempts_in_flight(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.dispatch.dispatcher.RECORD_SECONDS", 30.0)
    arrived = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(0.5)
        return web.Response()

    async with serving(slow) as url:
        await harness.endpoint(url)
        async with harness.delivering() as dispatcher:
            event_id = await harness.publish_job(dispatcher)
            await asyncio.wait_for(arrived.wait(), 30)

    assert (await harness.delivery(event_id)).status == "delivered"


async def test_a_worker_stopped_in_order_releases_waiting_deliveries(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.dispatch.dispatcher.RECORD_SECONDS", 30.0)
    arrived = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        arrived.set()
        await eventually(
            lambda: asyncio.sleep(0, dispatcher.room(endpoint_id) == 0), what="it accepts nothing any more"
        )
        return web.Response()

    async with serving(slow) as url:
        endpoint_id = to_uuid(await harness.endpoint(url))
        async with harness.delivering(in_flight_max=4, endpoint_in_flight_max=1) as dispatcher:
            await harness.publish(*(job_created(harness.tenant_id) for _ in range(5)), dispatcher=dispatcher)
            await asyncio.wait_for(arrived.wait(), 30)

    queued = await harness.queued()
    assert len(queued) == 4
    assert all(row.lease_token is None and row.due_at <= datetime.now(UTC) for row in queued)


async def test_a_long_attempt_keeps_its_lease(harness: DeliveryHarness) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        arrived.set()
        await release.wait()
        return web.Response()

    async with serving(slow) as url:
        await harness.endpoint(url)
        event_id = await harness.publish_job()
        async with harness.delivering(lease_seconds=3), harness.delivering(lease_seconds=3):
            await asyncio.wait_for(arrived.wait(), 30)
            (first,) = await harness.queued()

            async def over() -> list[Any] | None:
                return await harness.rows("SELECT 1 WHERE now() > :until", until=first.due_at) or None

            await eventually(over, what="its first lease would have expired")
            release.set()
            delivery = await harness.finished(event_id)

    assert (requests, delivery.attempts_made) == (1, 1)


async def test_a_late_result_changes_nothing(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    event_id = await harness.publish_job()
    first = await claim(harness)
    await harness.rows("UPDATE delivery_due SET due_at = now() - interval '1 second' RETURNING 1")
    second = await claim(harness)
    assert (first.event.id, first.endpoint_id) == (second.event.id, second.endpoint_id)
    assert first.lease.token != second.lease.token

    met = Outcome(time.time_ns() // 1000, 5, None, 200)
    async with harness.database.transaction() as session:
        late = await results.record_leased_attempts(session, [AttemptResult(first, met, Decision())])
    between = await harness.delivery(event_id)
    async with harness.database.transaction() as session:
        in_time = await results.record_leased_attempts(session, [AttemptResult(second, met, Decision())])

    assert (len(late), len(in_time)) == (0, 1)
    assert between.status == "pending"
    assert (await harness.delivery(event_id)).attempts_made == 1
    assert len(await harness.attempts(between)) == 1


async def test_of_two_results_in_one_group_only_the_one_under_the_present_lease_counts(
    harness: DeliveryHarness,
) -> None:
    # A worker that was slow for a moment lost a lease, claimed the same delivery again, and both attempts end at once.
    await harness.endpoint("http://127.0.0.1:9999/never")
    event_id = await harness.publish_job()
    first = await claim(harness)
    await harness.rows("UPDATE delivery_due SET due_at = now() - interval '1 second' RETURNING 1")
    second = await claim(harness)
    refused = AttemptResult(first, Outcome(time.time_ns() // 1000, 7, "status", 500), Decision(retry_seconds=60))
    accepted = AttemptResult(second, Outcome(time.time_ns() // 1000, 5, None, 200), Decision())

    async with harness.database.transaction() as session:
        ours = await results.record_leased_attempts(session, [refused, accepted])

    assert ours == {second.key}
    delivery = await harness.delivery(event_id)
    assert (delivery.status, delivery.attempts_made, delivery.response_status) == ("delivered", 1, 200)
    assert await harness.queued() == []
    assert len(await harness.attempts(delivery)) == 1


async def test_only_the_present_lease_of_a_delivery_is_renewed(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    await harness.publish_job()
    first = await claim(harness)
    await harness.rows("UPDATE delivery_due SET due_at = now() - interval '1 second' RETURNING 1")
    second = await claim(harness)

    async with harness.database.transaction() as session:
        ours = await due.renew(session, [first, second], 8)

    assert ours == {second.key}


async def test_results_wait_for_an_unavailable_database(harness: DeliveryHarness) -> None:
    requests = 0
    locked = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        arrived.set()
        await locked.wait()
        return web.Response()

    async with serving(slow) as url, harness.delivering() as dispatcher:
        await harness.endpoint(url)
        event_id = await harness.publish_job(dispatcher)
        await asyncio.wait_for(arrived.wait(), 30)
        async with harness.database.engine.connect() as blocker:
            await blocker.exec_driver_sql("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            with capture_logs() as logged:
                locked.set()
                await eventually(partial(cut_off, harness, logged), what="two failures")
            await blocker.rollback()
        delivery = await harness.finished(event_id)

    assert (delivery.attempts_made, requests) == (1, 1)


async def test_an_endpoint_whose_secret_cannot_be_decrypted_fails_alone(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url("/unreadable"))
    await harness.rows("UPDATE endpoints SET secret_sealed = '\\x0009ffff' RETURNING 1")
    healthy = await harness.endpoint(receiver.url("/healthy"))

    async with harness.delivering(schedule=()) as dispatcher:
        event_id = await harness.publish_job(dispatcher)
        await eventually(lambda: nothing_open(harness), what="both have ended")

    assert (await harness.delivery(event_id, healthy)).status == "delivered"
    causes = await harness.rows("SELECT cause FROM deliveries WHERE status = 'failed'")
    assert [row.cause for row in causes] == ["secret_unreadable"]
    assert receiver.at("/unreadable") == []


async def test_a_claim_takes_turns_among_endpoints(harness: DeliveryHarness) -> None:
    endpoint_ids = {await harness.endpoint(f"http://127.0.0.1:9999/{number}") for number in range(4)}
    await harness.publish(*(job_created(harness.tenant_id) for _ in range(10)))

    taken: list[str] = []
    after = FIRST_ENDPOINT
    for _ in range(4):
        async with harness.database.transaction() as session:
            leased, after, _ = await due.claim(
                session, harness.endpoint_cache, retry=False, after=after, full=[], each=3, rows_max=3, lease_seconds=8
            )
        taken += [typed("ep", one.endpoint_id) for one in leased]

    assert Counter(taken) == dict.fromkeys(endpoint_ids, 3)


def has_received(receiver: Receiver, count: int) -> bool:
    return receiver.count >= count


async def claim(harness: DeliveryHarness) -> leases.LeasedDelivery:
    async with harness.database.transaction() as session:
        (leased,), _, _ = await due.claim(
            session,
            harness.endpoint_cache,
            retry=False,
            after=FIRST_ENDPOINT,
            full=[],
            each=9,
            rows_max=9,
            lease_seconds=8,
        )
    return leased


async def nothing_queued(harness: DeliveryHarness) -> bool:
    return not await harness.queued()


async def nothing_open(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()


async def cut_off(harness: DeliveryHarness, logged: list[Any]) -> bool:
    """Terminate the connection on which results wait to be written. True once that has happened twice."""
    await harness.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'webhooks-result-writer' AND wait_event_type = 'Lock'"
    )
    return [entry["event"] for entry in logged].count("results_not_recorded") >= 2
