"""Batch leases: first attempts without rows of their own. None is lost, and a result under an expired lease changes nothing."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from aiohttp import web

from deploy.devstack.forks import Forker, start
from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.waiting import WAIT_SECONDS, eventually
from tests.harness.webhooks import DeliveryHarness, job_created, typed
from webhooks.deliveries import results
from webhooks.deliveries.results import AttemptResult
from webhooks.deliveries.rules import Decision
from webhooks.dispatch.result_writer import ResultWriter
from webhooks.http_client.responses import Outcome
from webhooks.postgres.autocommit import AutocommitConnection
from webhooks.queue import batch_leases
from webhooks.queue.leases import LeasedDelivery


def accepted(leased: LeasedDelivery) -> AttemptResult:
    return AttemptResult(leased, Outcome(time.time_ns() // 1000, 5, None, 200), Decision())


async def take(harness: DeliveryHarness, count: int = 1) -> list[LeasedDelivery]:
    """First attempts held by a worker that does nothing with them."""
    return await harness.publish(*(job_created(harness.tenant_id) for _ in range(count)), room=lambda _: 1000)


async def release(harness: DeliveryHarness) -> int:
    await harness.rows("UPDATE flights SET lease_until = now() - interval '1 second' RETURNING 1")
    async with harness.database.transaction() as session:
        return await batch_leases.release_expired_batches(session, mine=())


async def test_a_success_at_first_writes_one_row_and_leaves_no_batch_lease(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    await harness.endpoint(receiver.url("/a"))
    await harness.endpoint(receiver.url("/b"))

    async with harness.delivering() as worker:
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(20)), dispatcher=worker)
        await eventually(lambda: all_delivered(harness, 40), what="all are delivered")

    assert await harness.batch_leases() == []
    assert await harness.queued() == []
    assert await harness.rows("SELECT 1 FROM attempts") == []


async def test_over_an_autocommit_connection_a_delivery_with_a_row_keeps_it(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    first, second, third = await take(harness, 3)
    autocommit = AutocommitConnection(harness.database, "test")

    try:
        ours = [await results.record_first_attempts(autocommit, [accepted(first)])]
        # Once with a row that exists, and once soon after that.
        ours += [
            await results.record_first_attempts(autocommit, [accepted(first), accepted(one)]) for one in (second, third)
        ]
    finally:
        await autocommit.close()

    assert ours == [{first.lease.token}] * 3
    rows = await harness.rows("SELECT event_id, status, attempts_made FROM deliveries ORDER BY event_id")
    assert [tuple(row) for row in rows] == [(one.event.id, "delivered", 1) for one in (first, second, third)]


async def test_a_batch_lease_ends_with_the_last_of_its_results(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    first, *others = await take(harness, 3)

    async with harness.database.transaction() as session:
        assert await results.record_first_attempts(session, [accepted(first)]) == {first.lease.token}
    first.lease.unrecorded -= 1
    between = await harness.batch_leases()
    async with harness.database.transaction() as session:
        await results.record_first_attempts(session, [accepted(one) for one in others])

    assert len(between) == 1
    assert await harness.batch_leases() == []
    assert await all_delivered(harness, 3)


async def test_an_attempt_that_is_found_slow_again_leaves_its_batch_lease_once(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    slow, *others = await take(harness, 3)
    writer = ResultWriter(harness.database, lease_seconds=8, recorded=lambda _: None)
    # While the database does not answer, what waits for the writer is found slow with every check.
    for _ in range(3):
        writer.move_to_queue([slow])
    writing = asyncio.create_task(writer.run())

    async def moved() -> bool:
        return len(await harness.queued()) == 1

    try:
        await eventually(moved, what="it has moved to the queue")
        between = await harness.batch_leases()
        for one in others:
            writer.add(accepted(one))
        await writer.drain(WAIT_SECONDS)
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        await writer.close()

    assert len(between) == 1, "the others are held"
    assert await harness.batch_leases() == []
    rows = await harness.rows("SELECT event_id, status FROM deliveries")
    assert {row.event_id: row.status for row in rows} == {
        slow.event.id: "pending",
        **{one.event.id: "delivered" for one in others},
    }


async def test_the_deliveries_of_an_expired_batch_lease_become_due(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    first, *others = await take(harness, 3)
    async with harness.database.transaction() as session:
        await results.record_first_attempts(session, [accepted(first)])

    assert await release(harness) == 1

    queued = await harness.queued()
    assert {row.event_id for row in queued} == {one.event.id for one in others}
    assert all(row.lease_token is None and row.due_at <= datetime.now(UTC) for row in queued)
    statuses = await harness.rows("SELECT event_id, status FROM deliveries")
    assert Counter(row.status for row in statuses) == {"delivered": 1, "pending": 2}


async def test_a_late_result_under_a_released_batch_lease_changes_nothing(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    (leased,) = await take(harness)
    await release(harness)

    async with harness.database.transaction() as session:
        ours = await results.record_first_attempts(session, [accepted(leased)])

    assert ours == set()
    (row,) = await harness.rows("SELECT status, attempts_made FROM deliveries")
    assert (row.status, row.attempts_made) == ("pending", 0)
    assert len(await harness.queued()) == 1


async def test_a_batch_lease_that_has_not_expired_is_not_released(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    await take(harness)

    async with harness.database.transaction() as session:
        assert await batch_leases.release_expired_batches(session, mine=()) == 0
    assert len(await harness.batch_leases()) == 1


async def test_a_first_attempt_that_takes_long_is_shown_and_made_once(harness: DeliveryHarness) -> None:
    release = asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await release.wait()
        return web.Response()

    async with serving(slow) as url, harness.delivering(lease_seconds=3), harness.delivering(lease_seconds=3) as worker:
        await harness.endpoint(url)
        event_id = await harness.publish_job(worker)

        async def shown() -> bool:
            return await harness.delivery(event_id) is not None

        await eventually(shown, what="the delivery is shown")
        pending = await harness.delivery(event_id)
        in_flight = await harness.batch_leases()
        # Longer than a lease, which is renewed in the queue now.
        await asyncio.sleep(3.2)
        release.set()
        delivery = await harness.finished(event_id)

    assert (pending.status, in_flight) == ("pending", [])
    assert (delivery.status, delivery.attempts_made, requests) == ("delivered", 1, 1)


async def test_workers_that_are_killed_lose_nothing_and_repeat_only_what_was_in_flight(
    harness: DeliveryHarness, database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    received: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        received[request.headers["webhook-id"]] += 1
        await asyncio.sleep(0.02)
        return web.Response()

    in_flight = 0
    async with serving(answer) as url:
        await harness.endpoint(url)
        for round_number in range(1, 3):
            seen = len(received)
            arguments = [database_url, harness.sealing_keys, harness.tenant_id, "2000"]
            command = ["tests.harness.webhooks", *arguments]
            worker = start(command, {}, output=tmp_path / "log", forker=forker)
            try:
                await eventually(partial(has_more, received, seen + 300), seconds=60, what="the worker works")
            finally:
                worker.kill()
                worker.wait(10)
            (held,) = await harness.rows(
                "SELECT (SELECT coalesce(sum(cardinality(event_ids)), 0) FROM flights)"
                " + (SELECT count(*) FROM delivery_due WHERE lease_token IS NOT NULL) AS leased"
            )
            assert held.leased > 0, round_number
            in_flight += int(held.leased)
        async with harness.delivering(in_flight_max=512, endpoint_in_flight_max=256):
            await eventually(lambda: nothing_open(harness), seconds=40, what="everything has ended")

    stored = {typed("evt", row.id) for row in await harness.rows("SELECT id FROM events")}
    assert stored == set(received)
    assert sum(received.values()) - len(received) <= in_flight
    assert await all_delivered(harness, len(stored))


async def all_delivered(harness: DeliveryHarness, count: int) -> bool:
    rows = await harness.rows("SELECT status, count(*) AS deliveries FROM deliveries GROUP BY status")
    return {row.status: row.deliveries for row in rows} == {"delivered": count}


async def nothing_open(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()


async def has_more(received: Counter[str], count: int) -> bool:
    return len(received) > count
