"""A replica that is paused while it has partitions: receipts say that it is missing, and when it goes on it lets nobody in."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka.partitioner import DefaultPartitioner

from shared.events import identity
from shared.postgres.database import plain_url
from tests.harness.bodies import unique
from tests.harness.client import Api, refused
from tests.harness.people import Merchant, Tenant
from tests.harness.revocations import complete, end_api_access, receipt
from tests.harness.stack import PARTITIONS_MAX
from tests.harness.suite import Process, Suite
from tests.harness.waiting import eventually

STALE_AFTER_SECONDS = 3.0
REQUEST_SECONDS = 120.0
CONSUMER = "jobs.access"


@pytest.fixture
async def second(suite: Suite) -> AsyncIterator[Process]:
    """A second replica of jobs. It has half of the partitions, and gives them back when it stops, because it has no name of its own."""
    settings = {
        "WAYBILL_ACCESS_MAX_STALENESS_SECONDS": str(STALE_AFTER_SECONDS),
        # What it knew before a pause is too old after it.
        "WAYBILL_ACCESS_CACHE_TTL_SECONDS": "0.01",
    }
    async with suite.second_replica("jobs", instance=None, **settings) as process:
        yield process


def replica(found: dict[str, Any], *, named: bool) -> dict[str, Any] | None:
    """What a receipt says of the first replica of jobs, or of the second, which has no name of its own."""
    (service,) = [one for one in found["services"] if one["service"] == "jobs"]
    return next((one for one in service["replicas"] if (one["replica"] == "tests") is named), None)


async def merchants_of_all_partitions(tenant: Tenant) -> list[Merchant]:
    """Merchants whose events are in each partition of the topic: in some of either replica, however they share them."""
    partitions, found = list(range(PARTITIONS_MAX)), dict[int, Merchant]()
    while len(found) < len(partitions):
        merchant = await tenant.create_merchant()
        found.setdefault(DefaultPartitioner()(merchant.id.encode(), partitions, partitions), merchant)
    return list(found.values())


async def consumed(suite: Suite, process: Process) -> float:
    """Events of identity that this process has applied to what it decides by."""
    exposed = (await suite.client.get(f"{process.url}/metrics")).text
    labels = re.escape(f'{{consumer="{CONSUMER}",topic="{identity.TOPIC}"}}')
    counts = re.findall(rf"^waybill_consumer_records_total{labels} (\S+)$", exposed, re.MULTILINE)
    return sum(float(count) for count in counts)


async def staleness(driver: asyncpg.Connection) -> float:
    """Seconds for which nothing has proven that jobs has applied all events of identity."""
    proven = "SELECT caught_up_at FROM consumer_progress WHERE consumer = $1 AND topic = $2"
    query = f"SELECT extract(epoch FROM clock_timestamp() - ({proven}))"
    return float(await driver.fetchval(query, CONSUMER, identity.TOPIC))


async def lets_in(api: Api) -> bool:
    return (await api.get("/v1/jobs")).status_code == 200


async def refuses(api: Api) -> bool:
    """Whether a replica is current again, and refuses; until then it decides nothing."""
    answer = await api.get("/v1/jobs")
    assert answer.status_code in (403, 503), answer.text
    return answer.status_code == 403


async def test_a_replica_that_is_paused_is_missing_in_the_receipt_and_lets_nobody_in_when_it_goes_on(
    suite: Suite, tenant: Tenant, second: Process
) -> None:
    merchants = await merchants_of_all_partitions(tenant)
    at_second = [replace(await merchant.reveal(settled=False), url=second.url) for merchant in merchants]
    known = await end_api_access(tenant, await tenant.create_merchant())

    async def heard_of() -> bool:
        return replica(await receipt(*known), named=False) is not None

    async def has_partitions() -> bool:
        # An event in each partition.
        for merchant in merchants:
            await merchant.update(business_name=unique("Boulangerie"))
        return await consumed(suite, second) > 0

    await eventually(heard_of, what="identity hears of the second replica")
    await eventually(has_partitions, what="the second replica applies events")
    for api in at_second:
        await eventually(partial(lets_in, api), what="the second replica knows all merchants")

    assert second.popen is not None
    second.popen.send_signal(signal.SIGSTOP)
    asked_meanwhile = [asyncio.create_task(api.get("/v1/jobs", timeout=REQUEST_SECONDS)) for api in at_second]
    revocations = await asyncio.gather(*(end_api_access(tenant, merchant) for merchant in merchants))

    # What the paused replica has to apply is applied by nobody, so nothing proves any more that the data of either are current.
    driver = await asyncpg.connect(plain_url(suite.databases["jobs"]))
    try:

        async def is_stale() -> bool:
            return await staleness(driver) > STALE_AFTER_SECONDS

        await eventually(is_stale, what="what the paused replica knows is older than it may decide by")
    finally:
        await driver.close()

    async def some_are_applied() -> bool:
        found = [replica(await receipt(*one), named=True) for one in revocations]
        return any(one is not None and one["state"] == "applied" for one in found)

    await eventually(some_are_applied, what="the replica that runs applies what is in its own partitions")
    by_first = set()
    for one in revocations:
        paused = await receipt(*one)
        running, missing = replica(paused, named=True), replica(paused, named=False)
        assert running is not None
        assert missing is not None
        by_first.add(running["state"])
        assert (missing["state"], missing["applied_after_ms"], paused["complete"]) == ("missing", None, False)
        assert missing["last_heard_at"] < paused["revoked_at"]
    assert by_first == {"applied", "missing"}

    # It can decide nothing before it has proof that it has caught up; when it has, it refuses.
    second.popen.send_signal(signal.SIGCONT)
    assert {answer.status_code for answer in await asyncio.gather(*asked_meanwhile)} <= {403, 503}
    for api, one in zip(at_second, revocations, strict=True):
        late = replica(await complete(*one), named=False)
        assert late is not None
        assert late["state"] == "applied"
        await eventually(partial(refuses, api), what="the second replica is current and refuses")
        refused(await api.at("jobs").get("/v1/jobs"), 403, "api_access_off")
