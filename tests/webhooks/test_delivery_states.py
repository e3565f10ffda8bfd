"""What must be true of a delivery at its end, whatever has happened to it in whatever order."""

import asyncio
import random
from collections import Counter, defaultdict

import pytest
from aiohttp import web
from sqlalchemy import text

from shared.ids import to_uuid
from tests.harness.effort import seeds
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, job_created, typed
from webhooks.queue import due

EVENTS = 40
SCHEDULE = (0.02, 0.05, 0.05)


class Moody:
    """A receiver that accepts, refuses or times out, by a random seed."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self.met: dict[str, list[int]] = defaultdict(list)
        """Statuses of the responses that were sent in time, by event and path."""

    async def answer(self, request: web.Request) -> web.Response:
        status = self._random.choice([200, 200, 204, 204, 500, 502, 0])
        await asyncio.sleep(self._random.choice([0.0, 0.0, 0.05]))
        if status == 0:
            await asyncio.sleep(1.5)
            return web.Response()
        self.met[f"{request.headers['webhook-id']} {request.path}"].append(status)
        return web.Response(status=status)


async def disturb(harness: DeliveryHarness, chance: random.Random) -> None:
    """Now and then expire leases of workers that are alive, and send a delivery again."""
    while True:
        await asyncio.sleep(0.2)
        async with harness.database.transaction() as session:
            await session.execute(text("UPDATE flights SET lease_until = now() - interval '1 second'"))
            await session.execute(
                text("UPDATE delivery_due SET due_at = now() WHERE lease_token IS NOT NULL AND random() < 0.3")
            )
        rows = await harness.rows("SELECT event_id, endpoint_id FROM deliveries WHERE status <> 'pending' LIMIT 200")
        if rows:
            row = chance.choice(rows)
            async with harness.database.transaction() as session:
                await due.resend(session, row.event_id, row.endpoint_id)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(2))
async def test_every_delivery_ends_with_a_complete_log_and_true_to_what_was_answered(
    harness: DeliveryHarness, seed: int
) -> None:
    moody, chance = Moody(seed), random.Random(seed)
    options = {
        "lease_seconds": 0.6,
        "timeout_seconds": 1,
        "schedule": SCHEDULE,
        "breaker_failures": 8,
        "pause_seconds_max": 0.4,
    }
    async with serving(moody.answer) as url, harness.delivering(**options), harness.delivering(**options) as worker:
        for path in ("/a", "/b"):
            await harness.endpoint(url + path)
        ordered = to_uuid(await harness.endpoint(url + "/ordered", ordered_by_job=True))
        disturbing = asyncio.create_task(disturb(harness, chance))
        for _ in range(EVENTS // 10):
            events = [job_created(harness.tenant_id) for _ in range(10)]
            await harness.publish(*events, dispatcher=worker if chance.random() < 0.7 else None)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        disturbing.cancel()
        await asyncio.wait({disturbing})
        await eventually(lambda: nothing_open(harness), seconds=60, what="everything has ended")
        paths = {
            row.id: "/" + row.url.rpartition("/")[2] for row in await harness.rows("SELECT id, url FROM endpoints")
        }

    rows = await harness.rows("SELECT * FROM deliveries")
    logged = Counter(
        (row.event_id, row.endpoint_id) for row in await harness.rows("SELECT event_id, endpoint_id FROM attempts")
    )
    assert len(rows) == EVENTS * 3
    assert ordered in paths
    for row in rows:
        answers = moody.met[f"{typed('evt', row.event_id)} {paths[row.endpoint_id]}"]
        accepted = any(200 <= status < 300 for status in answers)
        assert row.status in ("delivered", "failed")
        assert (row.failure == "exhausted") == (row.status == "failed")
        # The log has every recorded attempt, without gaps. A receiver may have got more requests, but never fewer.
        assert logged[(row.event_id, row.endpoint_id)] == row.attempts_made - 1
        assert row.status == "failed" or accepted, (row, answers)
        assert row.attempts_made <= (len(SCHEDULE) + 1) * 20


async def nothing_open(harness: DeliveryHarness) -> bool:
    return not await harness.batch_leases() and not await harness.queued()
