"""Receivers that fail, hang, are busy or have a rate limit: how they are sent to, and that no other endpoint is delayed."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from aiohttp import web
from sqlalchemy import text

from shared.ids import to_uuid
from tests.harness.receiver import Received, Receiver
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, job_created
from webhooks.endpoints.rules import DisablePolicy, verdict
from webhooks.queue import due

DAY = timedelta(days=1)
PATIENCE = DisablePolicy(seconds=5 * 86_400, failures=20)


async def test_an_open_breaker_keeps_deliveries_and_their_attempts(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500
    await harness.endpoint(receiver.url())

    async with harness.delivering(breaker_failures=5, pause_seconds=0.5, schedule=(0.05,) * 20) as worker:
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(60)), dispatcher=worker)
        await receiver.wait_for(lambda: receiver.count >= 5)
        await asyncio.sleep(0.3)
        while_open = receiver.count

        async def counted() -> bool:
            (row,) = await harness.rows("SELECT sum(attempts_made) AS attempts FROM deliveries")
            return bool(row.attempts == receiver.count)

        await eventually(counted, what="what was sent has been counted, and nothing else")
        receiver.answer = lambda _: 200
        await eventually(lambda: delivered(harness, 60), what="all are delivered after the probe")

    # The attempts in flight when the breaker opened, and after that one probe at most.
    assert while_open < 60


async def test_a_breaker_probes_with_one_attempt(harness: DeliveryHarness, receiver: Receiver) -> None:
    received_at: list[float] = []

    def refuse(_: Received) -> int:
        received_at.append(time.monotonic())
        return 500

    receiver.answer = refuse
    await harness.endpoint(receiver.url())
    pauses = {"pause_seconds": 0.2, "pause_seconds_max": 0.2}

    async with harness.delivering(breaker_failures=1, in_flight_max=4, schedule=(0.01,) * 40, **pauses) as worker:
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(30)), dispatcher=worker)
        await receiver.wait_for(lambda: receiver.count >= 8)

    # Besides the first failure at most this many were in flight; each further attempt waited until the one before had failed.
    probes = received_at[3:]
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(probes))


async def test_an_open_breaker_affects_no_other_endpoint(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda request: 500 if request.path == "/down" else 200
    await harness.endpoint(receiver.url("/down"))
    await harness.endpoint(receiver.url("/up"))

    async with harness.delivering(breaker_failures=5, pause_seconds=30) as worker:
        for _ in range(10):
            await harness.publish(*(job_created(harness.tenant_id) for _ in range(20)), dispatcher=worker)
        await receiver.wait_for(lambda: len(receiver.at("/up")) == 200)

    assert len(receiver.at("/down")) < 40


async def test_a_rate_limit_is_kept(harness: DeliveryHarness, receiver: Receiver) -> None:
    received_at: list[float] = []

    def accept(request: Received) -> int:
        if request.path == "/limited":
            received_at.append(time.monotonic())
        return 200

    receiver.answer = accept
    await harness.endpoint(receiver.url("/limited"), rate_limit_per_second=20)
    await harness.endpoint(receiver.url("/free"))

    async with harness.delivering() as worker:
        started = time.monotonic()
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(60)), dispatcher=worker)
        await receiver.wait_for(lambda: len(receiver.at("/free")) == 60)
        limited_meanwhile = len(receiver.at("/limited"))
        await receiver.wait_for(lambda: len(receiver.at("/limited")) == 60)
        limited_seconds = time.monotonic() - started

    assert limited_meanwhile < 60
    assert limited_seconds > 2.7
    # In the second in which only the rate limited it.
    assert min(later - earlier for earlier, later in zip(received_at, received_at[20:], strict=False)) < 1.5


async def test_a_busy_receiver_gets_no_request_until_retry_after(harness: DeliveryHarness) -> None:
    received_at: list[float] = []

    async def busy(_: web.Request) -> web.Response:
        received_at.append(time.monotonic())
        if len(received_at) == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.Response()

    async with serving(busy) as url, harness.delivering(in_flight_max=4, endpoint_in_flight_max=1) as worker:
        await harness.endpoint(url)
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(5)), dispatcher=worker)
        await eventually(lambda: delivered(harness, 5), what="all are delivered")

    assert len(received_at) == 6
    assert received_at[1] - received_at[0] >= 0.95


async def test_an_endpoint_may_have_a_schedule_of_its_own(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    own = await harness.endpoint(receiver.url("/own"), retry_schedule_seconds=[1])
    other = await harness.endpoint(receiver.url("/other"))

    async with harness.delivering(schedule=(0.05, 0.05, 0.05)) as worker:
        event_id = await harness.publish_job(worker)
        await eventually(lambda: nothing_queued(harness), what="both have ended")

    assert (await harness.delivery(event_id, own)).attempts_made == 2
    assert (await harness.delivery(event_id, other)).attempts_made == 4


async def test_a_redelivery_restarts_the_schedule_and_continues_to_count(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500
    endpoint_id = await harness.endpoint(receiver.url())
    async with harness.delivering(schedule=(0.02,)) as worker:
        event_id = await harness.publish_job(worker)
        await harness.finished(event_id)
        async with harness.database.transaction() as session:
            assert await due.resend(session, to_uuid(event_id), to_uuid(endpoint_id))
            reopened = (await session.execute(text("SELECT status FROM deliveries"))).scalar_one()
        await eventually(lambda: nothing_queued(harness), what="it has ended again")

    delivery = await harness.delivery(event_id)
    assert reopened == "pending"
    assert (delivery.status, delivery.failure, delivery.attempts_made) == ("failed", "exhausted", 4)
    assert [one.number for one in await harness.attempts(delivery)] == [1, 2, 3, 4]


async def test_an_endpoint_that_fails_for_long_is_warned_and_then_disabled(harness: DeliveryHarness) -> None:
    asked = 0
    half_is_over, was_warned = asyncio.Event(), asyncio.Event()

    async def refuse(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        number = asked
        if number > 2:
            await half_is_over.wait()
        if number > 4:
            await was_warned.wait()
        return web.Response(status=500)

    async def failing_for_half() -> bool:
        return bool(await harness.rows("SELECT 1 FROM endpoints WHERE failing_since < now() - interval '0.25 s'"))

    async def warned() -> bool:
        return bool(await harness.rows("SELECT 1 FROM endpoints WHERE warned_at IS NOT NULL"))

    disable_policy = DisablePolicy(seconds=0.5, failures=6)
    options = {"disable_policy": disable_policy, "health_seconds": 0.1, "schedule": (0.1,) * 50, "timeout_seconds": 30}
    async with serving(refuse) as url, harness.delivering(**options, breaker_failures=1000) as worker:
        endpoint_id = await harness.endpoint(url)
        event_id = await harness.publish_job(worker)
        await eventually(failing_for_half, what="half of the time has passed")
        half_is_over.set()
        await eventually(warned, what="it is warned after half of the failures")
        was_warned.set()
        delivery = await harness.finished(event_id)

    assert delivery.failure == "endpoint_disabled"
    (endpoint,) = await harness.rows(
        "SELECT enabled, disabled_reason, failures_since, warned_at, version FROM endpoints"
    )
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.version) == (False, "failing", 3)
    published = [(one["type"], one["endpoint_id"], one["reason"]) for one in await harness.published()]
    assert published[-2:] == [("endpoint.warned", endpoint_id, None), ("endpoint.disabled", endpoint_id, "failing")]


async def test_a_success_ends_a_streak_of_failures(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    await harness.endpoint(receiver.url())

    async with harness.delivering(health_seconds=0.05, schedule=(0.2,) * 500, breaker_failures=1000) as worker:
        await harness.publish_job(worker)
        await eventually(lambda: failing(harness), what="the failure is counted")
        receiver.answer = lambda _: 200
        await eventually(lambda: delivered(harness, 1), what="it is delivered")

        async def well() -> bool:
            return not await failing(harness)

        await eventually(well, what="the streak is reset")

    (endpoint,) = await harness.rows("SELECT failures_since, warned_at, enabled FROM endpoints")
    assert tuple(endpoint) == (0, None, True)


def test_both_time_and_failures_are_needed_to_be_disabled() -> None:
    now = datetime.now(UTC)

    def found(days: float, failures: int, *, warned: bool = True) -> str | None:
        warned_at = now if warned else None
        return verdict(PATIENCE, failing_since=now - days * DAY, failures=failures, warned_at=warned_at, now=now)

    assert found(5, 20) == "disable"
    assert found(5, 20, warned=False) == "disable"
    assert found(4.9, 1000) is None
    assert found(30, 19) is None
    assert found(2.5, 10, warned=False) == "warn"
    assert found(2.4, 10, warned=False) is None
    assert found(2.5, 9, warned=False) is None


async def test_the_jobs_of_an_ordered_endpoint_keep_their_order(harness: DeliveryHarness) -> None:
    received: list[tuple[str, int]] = []
    refused: Counter[tuple[str, int]] = Counter()

    async def moody(request: web.Request) -> web.Response:
        document = (await request.json())["data"]
        what = document["job"]["id"], document["sequence"]
        if refused[what] < what[1] % 3:
            refused[what] += 1
            return web.Response(status=500)
        received.append(what)
        return web.Response()

    async with serving(moody) as url, harness.delivering(breaker_failures=1000, schedule=(0.02,) * 5) as worker:
        await harness.endpoint(url, ordered_by_job=True)
        firsts = [job_created(harness.tenant_id) for _ in range(4)]
        for sequence in range(1, 7):
            events = [
                one.model_copy(
                    update={
                        "id": job_created(harness.tenant_id).id,
                        "data": one.data.model_copy(update={"sequence": sequence}),
                    }
                )
                for one in firsts
            ]
            await harness.publish(*events, dispatcher=worker)
        await eventually(lambda: delivered(harness, 24), what="all are delivered")

    per_job = {
        first.subject: [sequence for job_id, sequence in received if job_id == first.subject] for first in firsts
    }
    assert list(per_job.values()) == [[1, 2, 3, 4, 5, 6]] * 4


async def test_a_blocked_job_delays_only_its_own_events(harness: DeliveryHarness) -> None:
    received: list[tuple[str, int]] = []

    refused = 0
    others_are_here = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal refused
        document = (await request.json())["data"]
        if document["job"]["id"] == stuck.subject and document["sequence"] == 1:
            refused += 1
            if refused > 2:
                await others_are_here.wait()
            return web.Response(status=500)
        received.append((document["job"]["id"], document["sequence"]))
        return web.Response()

    stuck, other = job_created(harness.tenant_id), job_created(harness.tenant_id)
    # Its last attempt lasts until the other job is delivered.
    options = {"schedule": (0.3, 0.3), "breaker_failures": 1000, "timeout_seconds": 30}
    async with serving(answer) as url, harness.delivering(**options) as worker:
        await harness.endpoint(url, ordered_by_job=True)
        for sequence in (1, 2):
            for one in (stuck, other):
                change = {
                    "id": job_created(harness.tenant_id).id,
                    "data": one.data.model_copy(update={"sequence": sequence}),
                }
                await harness.publish(one.model_copy(update=change), dispatcher=worker)
        await eventually(lambda: asyncio.sleep(0, len(received) == 2), what="the other job is delivered")
        at_first = list(received)
        others_are_here.set()
        # Given up after its schedule: then the next one is sent.
        await eventually(lambda: asyncio.sleep(0, len(received) == 3), what="the blocked job continues")

    assert at_first == [(other.subject, 1), (other.subject, 2)]
    assert received[2] == (stuck.subject, 2)
    statuses = await harness.rows("SELECT status, count(*) AS deliveries FROM deliveries GROUP BY status")
    assert {row.status: row.deliveries for row in statuses} == {"delivered": 3, "failed": 1}


async def delivered(harness: DeliveryHarness, count: int) -> bool:
    (row,) = await harness.rows("SELECT count(*) AS deliveries FROM deliveries WHERE status = 'delivered'")
    return int(row.deliveries) == count


async def failing(harness: DeliveryHarness) -> bool:
    return bool(await harness.rows("SELECT 1 FROM endpoints WHERE failing_since IS NOT NULL"))


async def nothing_queued(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()
