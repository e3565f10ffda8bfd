"""Clocks of workers and of the database that jump: no delivery is lost or repeated, and no worker takes what another holds."""

import asyncio
import random
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import format_datetime

import pytest
from aiohttp import web
from sqlalchemy import text

from shared.ids import to_uuid
from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.tasks import replicas
from tests.harness.waiting import eventually
from tests.harness.webhooks import REPLAY_LIMITS, DeliveryHarness, job_created
from webhooks.replays import operations
from webhooks.replays import worker as replays_worker
from webhooks.replays.schemas import ReplayIn

EVENTS = 60
HOUR = timedelta(hours=1)
STEPS = (timedelta(days=400), -timedelta(days=400), HOUR, -HOUR, timedelta())


class WallClock:
    """The wall clock of the service; its monotonic clock is the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The wall clock of webhooks in this process."""
    clock = WallClock()

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Stepped":
            now = datetime.now(tz) + clock.ahead
            return cls.fromtimestamp(now.timestamp(), tz)

    for name, module in list(sys.modules.items()):
        if name.startswith("webhooks.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Stepped)
    return clock


async def all_ended(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()


async def test_a_wall_clock_that_jumps_loses_no_delivery_and_repeats_none(
    harness: DeliveryHarness, wall: WallClock
) -> None:
    chance = random.Random(5)
    accepted: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        if chance.random() < 0.3:
            return web.Response(status=500)
        accepted[request.headers["webhook-id"]] += 1
        return web.Response()

    async with (
        serving(answer) as url,
        harness.delivering(schedule=(0.1,) * 20) as worker,
        harness.delivering(schedule=(0.1,) * 20),
    ):
        await harness.endpoint(url)
        published = []
        for number in range(EVENTS // 6):
            wall.ahead = chance.choice(STEPS)
            events = [job_created(harness.tenant_id) for _ in range(6)]
            await harness.publish(*events, dispatcher=worker if number % 2 else None)
            published += [event.id for event in events]
            # Leases and due instants are of the database's clock, whatever the worker's clock says.
            for row in await harness.rows("SELECT abs(extract(epoch FROM due_at - now())) AS away FROM delivery_due"):
                assert row.away < 60
            await asyncio.sleep(0.15)
        await eventually(lambda: all_ended(harness), seconds=30, what="everything has ended")

    rows = await harness.rows("SELECT status, finished_at, now() AS now FROM deliveries")
    assert Counter(row.status for row in rows) == {"delivered": EVENTS}
    assert accepted == dict.fromkeys(published, 1)
    assert all(abs(row.now - row.finished_at) < HOUR for row in rows)


async def test_the_lease_of_a_worker_with_a_wrong_clock_is_kept(harness: DeliveryHarness, wall: WallClock) -> None:
    release = asyncio.Event()
    requests = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        await release.wait()
        return web.Response()

    async def renewed() -> None:
        (held,) = await harness.queued()

        async def later() -> bool:
            return all(row.due_at > held.due_at for row in await harness.queued())

        await eventually(later, what="the lease is renewed")

    async with serving(slow) as url:
        await harness.endpoint(url)
        event_id = await harness.publish_job()
        async with harness.delivering(lease_seconds=4), harness.delivering(lease_seconds=4):
            await eventually(lambda: asyncio.sleep(0, requests == 1), what="it has begun")
            for days in (30, -30):
                wall.ahead = timedelta(days=days)
                await renewed()
            release.set()
            delivery = await harness.finished(event_id)

    assert (delivery.status, delivery.attempts_made, requests) == ("delivered", 1, 1)


@pytest.mark.parametrize("ahead", [30 * 24 * HOUR, -30 * 24 * HOUR])
async def test_a_retry_after_date_delays_by_a_day_at_most(
    harness: DeliveryHarness, wall: WallClock, ahead: timedelta
) -> None:
    wall.ahead = ahead

    async def busy(_: web.Request) -> web.Response:
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        return web.Response(status=503, headers={"Retry-After": later})

    async with serving(busy) as url, harness.delivering(schedule=(HOUR.total_seconds(),)) as worker:
        await harness.endpoint(url)
        event_id = await harness.publish_job(worker)

        async def noted() -> bool:
            row = await harness.delivery(event_id)
            return row is not None and row.attempts_made > 0

        await eventually(noted, what="the first attempt is recorded")
        (row,) = await harness.rows("SELECT extract(epoch FROM next_attempt_at - now()) AS away FROM deliveries")

    assert row.away <= 24 * 3600 * 1.2 + 1


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_database_whose_clock_jumps_loses_nothing(
    harness: DeliveryHarness, receiver: Receiver, ahead: timedelta
) -> None:
    # A jump of the clock moves all stored instants relative to it.
    receiver.answer = lambda _: 500 if receiver.count <= EVENTS // 2 else 200
    await harness.endpoint(receiver.url())

    async with harness.delivering(lease_seconds=1, schedule=(0.3,) * 20, breaker_failures=10_000) as worker:
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(EVENTS)), dispatcher=worker)
        await receiver.wait_for(lambda: receiver.count >= EVENTS // 2)
        async with harness.database.transaction() as session:
            values = {"ahead": ahead}
            await session.execute(text("UPDATE delivery_due SET due_at = due_at - CAST(:ahead AS interval)"), values)
            await session.execute(
                text("UPDATE flights SET lease_until = lease_until - CAST(:ahead AS interval)"), values
            )
        if ahead < timedelta():
            # Retries are delayed by that jump and no more: the hour passes.
            await asyncio.sleep(1)
            await harness.rows(
                "UPDATE delivery_due SET due_at = due_at - interval '1 hour' WHERE lease_token IS NULL RETURNING 1"
            )
        await eventually(lambda: all_ended(harness), seconds=30, what="everything has ended")

    rows = await harness.rows("SELECT status FROM deliveries")
    assert Counter(row.status for row in rows) == {"delivered": EVENTS}


async def test_a_replay_runs_by_the_clock_of_the_database(harness: DeliveryHarness, wall: WallClock) -> None:
    await harness.rows("DELETE FROM replays RETURNING 1")
    await harness.publish(*(job_created(harness.tenant_id) for _ in range(5)))
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    since = (datetime.now(UTC) - HOUR).isoformat()
    wanted = ReplayIn.model_validate({"endpoint_id": endpoint_id, "kind": "missing", "since": since})
    async with harness.database.transaction() as session:
        made = await operations.create(session, REPLAY_LIMITS, harness.actor, wanted, datetime.now(UTC))

    wall.ahead = -timedelta(days=1)

    async def ended() -> bool:
        async with harness.database.reading() as session:
            return (await operations.get(session, harness.caller, made.id)).status == "completed"

    async with replicas(harness.database.url, replays_worker.task_kind()):
        await eventually(ended, what="the replay has ended")
    assert {row.endpoint_id for row in await harness.queued()} == {to_uuid(endpoint_id)}
    assert len(await harness.queued()) == 5
