"""`kill -9` of every process while jobs are created and delivered: nothing that was acknowledged is lost."""

import asyncio
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.support.receiver import Receiver
from tests.support.stack import BackingStack
from tests.support.suite import SERVICES, Api, Suite, Tenant, job

LOAD_SECONDS = 6.0
KILLED_AFTER_SECONDS = 1.5
DOWN_SECONDS = 1.0
WRITERS = 8
PACE_SECONDS = 0.05
DELIVERED_WITHIN_SECONDS = 60.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


class Acknowledged:
    """Ids of the jobs that the API answered with 201, and what else it answered meanwhile."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.refusals: dict[str, int] = defaultdict(int)

    async def write(self, api: Api, until: float) -> None:
        """Create jobs until then; a request without an answer is repeated with its Idempotency-Key, as a good client does."""
        for number in itertools.count():
            if time.monotonic() > until:
                return
            key = secrets.token_hex(12)
            while True:
                try:
                    body = job(reference_id=f"{key}-{number}")
                    answer = await api.post("jobs", "/v1/jobs", body, headers={"Idempotency-Key": key})
                except httpx.TransportError as error:
                    self.refusals[type(error).__name__] += 1
                else:
                    if answer.status_code == 201:
                        self.jobs.append(answer.json()["id"])
                        break
                    self.refusals[str(answer.status_code)] += 1
                    assert answer.status_code in (409, 503), answer.text
                if time.monotonic() > until + DELIVERED_WITHIN_SECONDS:
                    raise AssertionError(f"no answer: {dict(self.refusals)}")
                await asyncio.sleep(0.1)
            await asyncio.sleep(PACE_SECONDS)


async def kill_and_restart(suite: Suite, fragile: BackingStack, victim: str) -> None:
    await asyncio.sleep(KILLED_AFTER_SECONDS)
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


async def working_tenant(suite: Suite, receiver: Receiver) -> tuple[Tenant, Api]:
    tenant = await suite.new_tenant()
    await tenant.create_endpoint(receiver.url("/all"))
    return tenant, await (await tenant.create_merchant()).api()


@pytest.mark.parametrize("victim", [*SERVICES, "kafka", "postgres"])
async def test_a_kill_loses_nothing_that_was_acknowledged(
    suite: Suite, fragile: BackingStack, receiver: Receiver, victim: str
) -> None:
    _, api = await working_tenant(suite, receiver)
    acknowledged = Acknowledged()
    until = time.monotonic() + LOAD_SECONDS

    work: list[Awaitable[None]] = [acknowledged.write(api, until) for _ in range(WRITERS)]
    await asyncio.gather(kill_and_restart(suite, fragile, victim), *work)

    expected = set(acknowledged.jobs)
    assert len(expected) > WRITERS * LOAD_SECONDS
    assert len(expected) == len(acknowledged.jobs), "one key made two jobs"
    await receiver.wait_for(
        lambda: expected <= {request.json()["data"]["job"]["id"] for request in receiver.requests},
        timeout_seconds=DELIVERED_WITHIN_SECONDS,
    )
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
    until = time.monotonic() + 3
    writing = asyncio.gather(*(acknowledged.write(api, until) for _ in range(WRITERS)))
    await asyncio.sleep(1)

    for name in SERVICES:
        process = suite.processes[name]
        assert await asyncio.to_thread(process.stop) == 0, f"{name} did not end well"
        process.start()
        await process.ready()
    await writing

    expected = set(acknowledged.jobs)
    await receiver.wait_for(
        lambda: expected <= {request.json()["data"]["job"]["id"] for request in receiver.requests},
        timeout_seconds=DELIVERED_WITHIN_SECONDS,
    )
