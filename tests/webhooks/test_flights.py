"""Flights: first attempts without rows of their own. Nothing of them is lost, and whoever has lost one changes nothing any more."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from tests.support.receiver import Receiver
from tests.support.servers import serving
from tests.support.suite import eventually
from tests.support.webhooks import Desk, job_created, typed
from webhooks import attempts, flights
from webhooks.attempts import Leased, Result
from webhooks.domain.retries import Decision, Outcome
from webhooks.wire import Wire


def accepted(leased: Leased) -> Result:
    return Result(leased, Outcome(time.time_ns() // 1000, 5, None, 200), Decision())


async def take(desk: Desk, count: int = 1) -> list[Leased]:
    """First attempts in the hands of a worker that does nothing with them."""
    return await desk.publish(*(job_created(desk.tenant_id) for _ in range(count)), room=lambda _: 1000)


async def break_up(desk: Desk) -> int:
    await desk.rows("UPDATE flights SET lease_until = now() - interval '1 second' RETURNING 1")
    async with desk.database.transaction() as session:
        return await flights.break_up_silent(session, mine=())


async def test_a_success_at_first_writes_one_row_and_leaves_no_flight(desk: Desk, receiver: Receiver) -> None:
    await desk.endpoint(receiver.url("/a"))
    await desk.endpoint(receiver.url("/b"))

    async with desk.delivering() as worker:
        await desk.publish(*(job_created(desk.tenant_id) for _ in range(20)), dispatcher=worker)
        await eventually(lambda: all_delivered(desk, 40), what="all are delivered")

    assert await desk.flights() == []
    assert await desk.queued() == []
    assert await desk.rows("SELECT 1 FROM attempts") == []


async def test_over_a_wire_what_has_a_row_already_keeps_it(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/never")
    first, second, third = await take(desk, 3)
    wire = Wire(desk.database, "test")

    try:
        ours = [await attempts.record_first(wire, [accepted(first)])]
        # Once a row was there already, and once soon after.
        ours += [await attempts.record_first(wire, [accepted(first), accepted(one)]) for one in (second, third)]
    finally:
        await wire.close()

    assert ours == [{first.lease.token}] * 3
    rows = await desk.rows("SELECT event_id, status, attempts_made FROM deliveries ORDER BY event_id")
    assert [tuple(row) for row in rows] == [(one.event.id, "delivered", 1) for one in (first, second, third)]


async def test_a_flight_ends_with_the_last_of_its_results(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/never")
    first, *others = await take(desk, 3)

    async with desk.database.transaction() as session:
        assert await attempts.record_first(session, [accepted(first)]) == {first.lease.token}
    first.lease.left -= 1
    between = await desk.flights()
    async with desk.database.transaction() as session:
        await attempts.record_first(session, [accepted(one) for one in others])

    assert len(between) == 1
    assert await desk.flights() == []
    assert await all_delivered(desk, 3)


async def test_the_flight_of_a_silent_worker_becomes_due(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/never")
    first, *others = await take(desk, 3)
    async with desk.database.transaction() as session:
        await attempts.record_first(session, [accepted(first)])

    assert await break_up(desk) == 1

    queued = await desk.queued()
    assert {row.event_id for row in queued} == {one.event.id for one in others}
    assert all(row.lease_token is None and row.due_at <= datetime.now(UTC) for row in queued)
    statuses = await desk.rows("SELECT event_id, status FROM deliveries")
    assert Counter(row.status for row in statuses) == {"delivered": 1, "pending": 2}


async def test_a_late_result_of_a_flight_that_was_broken_up_changes_nothing(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/never")
    (leased,) = await take(desk)
    await break_up(desk)

    async with desk.database.transaction() as session:
        ours = await attempts.record_first(session, [accepted(leased)])

    assert ours == set()
    (row,) = await desk.rows("SELECT status, attempts_made FROM deliveries")
    assert (row.status, row.attempts_made) == ("pending", 0)
    assert len(await desk.queued()) == 1


async def test_a_flight_that_is_alive_is_left_alone(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/never")
    await take(desk)

    async with desk.database.transaction() as session:
        assert await flights.break_up_silent(session, mine=()) == 0
    assert len(await desk.flights()) == 1


async def test_a_first_attempt_that_takes_long_is_shown_and_made_once(desk: Desk) -> None:
    release = asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await release.wait()
        return web.Response()

    async with serving(slow) as url, desk.delivering(lease_seconds=3), desk.delivering(lease_seconds=3) as worker:
        await desk.endpoint(url)
        event_id = await desk.publish_job(worker)

        async def shown() -> bool:
            return await desk.delivery(event_id) is not None

        await eventually(shown, what="the delivery is shown")
        pending = await desk.delivery(event_id)
        in_flight = await desk.flights()
        # Longer than a lease: it is renewed as part of the queue now.
        await asyncio.sleep(3.2)
        release.set()
        delivery = await desk.finished(event_id)

    assert (pending.status, in_flight) == ("pending", [])
    assert (delivery.status, delivery.attempts_made, requests) == ("delivered", 1, 1)


async def test_workers_that_are_killed_lose_nothing_and_repeat_only_what_was_in_flight(
    desk: Desk, database_url: str
) -> None:
    received: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        received[request.headers["webhook-id"]] += 1
        await asyncio.sleep(0.02)
        return web.Response()

    in_flight = 0
    async with serving(answer) as url:
        await desk.endpoint(url)
        for round_number in range(1, 3):
            seen = len(received)
            arguments = [database_url, desk.sealing_keys, desk.tenant_id, "2000"]
            worker = subprocess.Popen([sys.executable, "-m", "tests.support.webhooks", *arguments])
            try:
                await eventually(partial(has_more, received, seen + 300), seconds=60, what="the worker works")
            finally:
                worker.kill()
                worker.wait(10)
            (held,) = await desk.rows(
                "SELECT (SELECT coalesce(sum(cardinality(event_ids)), 0) FROM flights)"
                " + (SELECT count(*) FROM delivery_due WHERE lease_token IS NOT NULL) AS pairs"
            )
            assert held.pairs > 0, round_number
            in_flight += int(held.pairs)
        async with desk.delivering(in_flight_max=512, endpoint_in_flight_max=256):
            await eventually(lambda: nothing_open(desk), seconds=40, what="everything has ended")

    stored = {typed("evt", row.id) for row in await desk.rows("SELECT id FROM events")}
    assert stored == set(received)
    assert sum(received.values()) - len(received) <= in_flight
    assert await all_delivered(desk, len(stored))


async def all_delivered(desk: Desk, count: int) -> bool:
    rows = await desk.rows("SELECT status, count(*) AS deliveries FROM deliveries GROUP BY status")
    return {row.status: row.deliveries for row in rows} == {"delivered": count}


async def nothing_open(desk: Desk) -> bool:
    return not await desk.flights() and not await desk.queued()


async def has_more(received: Counter[str], count: int) -> bool:
    return len(received) > count
