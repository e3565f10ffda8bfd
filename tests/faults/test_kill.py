"""`kill -9` of every process while jobs are created and delivered: nothing that was acknowledged is lost."""

import asyncio
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from tests.harness.bodies import email, smallest_job, staff_body
from tests.harness.client import Api
from tests.harness.mailbox import TAKEN, Mailbox
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.stack import BackingStack
from tests.harness.suite import SERVICES, Suite
from tests.harness.waiting import eventually

DOWN_SECONDS = 1.0
WRITERS = 8
JOBS_BEFORE_AND_AFTER = 32
PACE_SECONDS = 0.05
ANSWERED_WITHIN_SECONDS = 60.0
DELIVERED_WITHIN_SECONDS = 60.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240, func_only=True)]


class Acknowledged:
    """Ids of the jobs that the API answered with 201, and what else it answered meanwhile."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.refusals: dict[str, int] = defaultdict(int)
        self.enough = False

    async def more(self) -> None:
        """Returns when some more were acknowledged."""
        wanted = len(self.jobs) + JOBS_BEFORE_AND_AFTER

        async def reached() -> bool:
            return len(self.jobs) >= wanted

        await eventually(reached, seconds=ANSWERED_WITHIN_SECONDS, what=f"{wanted} jobs are acknowledged")

    def stop(self) -> None:
        """Have the writers end with the request under way."""
        self.enough = True

    async def write(self, api: Api) -> None:
        """Create jobs until enough; a request without an answer is repeated with its Idempotency-Key, as a good client does."""
        for number in itertools.count():
            if self.enough:
                return
            began = time.monotonic()
            key = secrets.token_hex(12)
            while True:
                try:
                    body = smallest_job(reference_id=f"{key}-{number}")
                    answer = await api.at("jobs").post("/v1/jobs", body, headers={"Idempotency-Key": key})
                except httpx.TransportError as error:
                    self.refusals[type(error).__name__] += 1
                else:
                    if answer.status_code == 201:
                        self.jobs.append(answer.json()["id"])
                        break
                    self.refusals[str(answer.status_code)] += 1
                    assert answer.status_code in (409, 503), answer.text
                if time.monotonic() > began + ANSWERED_WITHIN_SECONDS:
                    raise AssertionError(f"no answer: {dict(self.refusals)}")
                await asyncio.sleep(0.1)
            await asyncio.sleep(PACE_SECONDS)


async def kill_and_restart(suite: Suite, fragile: BackingStack, victim: str) -> None:
    if victim in SERVICES:
        process = suite.processes[victim]
        await asyncio.to_thread(process.kill9)
        await asyncio.sleep(DOWN_SECONDS)
        process.start()
        await process.ready()
        return
    actions: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "kafka": (fragile.kill9_kafka, fragile.restart_kafka),
        "postgres": (fragile.kill9_postgres, fragile.restart_postgres),
    }
    kill, restart = actions[victim]
    await asyncio.to_thread(kill)
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(restart)


def has_delivered(receiver: Receiver, jobs: set[str]) -> Callable[[], bool]:
    """Whether each of these jobs was delivered by now; looks at each request once."""
    missing, looked_at = set(jobs), 0

    def condition() -> bool:
        nonlocal looked_at
        new = receiver.requests[looked_at:]
        looked_at += len(new)
        missing.difference_update(request.json()["data"]["job"]["id"] for request in new)
        return not missing

    return condition


async def working_tenant(suite: Suite, receiver: Receiver) -> tuple[Tenant, Api]:
    tenant = await suite.create_tenant()
    await tenant.create_endpoint(receiver.url("/all"))
    return tenant, await (await tenant.create_merchant()).reveal()


@pytest.mark.parametrize("victim", [*SERVICES, "kafka", "postgres"])
async def test_a_kill_loses_nothing_that_was_acknowledged(
    suite: Suite, fragile: BackingStack, receiver: Receiver, victim: str
) -> None:
    _, api = await working_tenant(suite, receiver)
    acknowledged = Acknowledged()

    async def kill_amid_work() -> None:
        await acknowledged.more()
        await kill_and_restart(suite, fragile, victim)
        await acknowledged.more()
        acknowledged.stop()

    await asyncio.gather(kill_amid_work(), *(acknowledged.write(api) for _ in range(WRITERS)))

    expected = set(acknowledged.jobs)
    assert len(expected) == len(acknowledged.jobs), "one key made two jobs"
    await receiver.wait_for(has_delivered(receiver, expected), timeout_seconds=DELIVERED_WITHIN_SECONDS)
    ids_of_a_job: dict[str, set[str]] = defaultdict(set)
    sequences: dict[str, list[int]] = defaultdict(list)
    for request in receiver.requests:
        data = request.json()["data"]
        ids_of_a_job[data["job"]["id"]].add(request.webhook_id)
        if data["sequence"] not in sequences[data["job"]["id"]]:
            sequences[data["job"]["id"]].append(data["sequence"])
    assert all(len(ids) == 1 for ids in ids_of_a_job.values()), "a repeat came with another webhook-id"
    assert all(seen == sorted(seen) for seen in sequences.values())


async def test_sigterm_ends_every_service_in_order(suite: Suite, fragile: BackingStack, receiver: Receiver) -> None:
    _, api = await working_tenant(suite, receiver)
    acknowledged = Acknowledged()
    writing = asyncio.gather(*(acknowledged.write(api) for _ in range(WRITERS)))
    await acknowledged.more()
    asyncio.get_running_loop().call_later(2, acknowledged.stop)

    for name in SERVICES:
        process = suite.processes[name]
        assert await asyncio.to_thread(process.stop) == 0, f"{name} did not end well"
        process.start()
        await process.ready()
    await writing

    expected = set(acknowledged.jobs)
    await receiver.wait_for(has_delivered(receiver, expected), timeout_seconds=DELIVERED_WITHIN_SECONDS)


async def test_a_kill_between_a_mail_and_its_record_repeats_it_under_the_same_id(suite: Suite, box: Mailbox) -> None:
    tenant, address, killed = await suite.create_tenant(), email(), asyncio.Event()

    async def answer_nobody(recipient: str) -> str:
        # The server has the mail; that it has it, its sender never hears.
        if recipient == address:
            await killed.wait()
        return TAKEN

    box.on_message = answer_nobody
    await tenant.owner.create("/v1/staff", {**staff_body("orders"), "email": address, "password": None})
    await box.wait_for(address)

    process = suite.processes["identity"]
    await asyncio.to_thread(process.kill9)
    killed.set()
    process.start()
    await process.ready()

    first, second = await box.wait_for(address, 2)
    await eventually(lambda: no_mail_waits(suite), what="the mail is recorded")
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.token == second.token
    assert len(box.to(address)) == 2


async def no_mail_waits(suite: Suite) -> bool:
    connection = await asyncpg.connect(suite.databases["identity"])
    try:
        return bool(await connection.fetchval("SELECT NOT EXISTS (SELECT FROM tasks WHERE kind LIKE 'mail%')"))
    finally:
        await connection.close()
