"""Projections are made of events alone: read again from the first one, they are row by row what they were."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.reference_data.consumer import TENANT_EVENTS, on_tenant_events
from shared.access import projection
from shared.events import Event, Vocabulary, billing, identity, text_headers
from tests.harness.people import Tenant
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, migrated
from tests.harness.suite import SERVICES, Suite
from tests.harness.waiting import eventually

ACCESS_TABLES = tuple(table.name for table in projection.TABLES)


@dataclass(frozen=True)
class Projection:
    """What a service stores of the events of others."""

    service: str
    vocabulary: Vocabulary
    apply: Callable[[AsyncSession, list[Event]], Awaitable[None]]
    tables: Sequence[str]


PROJECTIONS = [
    *(Projection(name, Vocabulary(*projection.ACCESS_EVENTS), projection.apply, ACCESS_TABLES) for name in SERVICES),
    Projection("jobs", TENANT_EVENTS, on_tenant_events, ("tenant_settings",)),
]


async def all_records(suite: Suite, bootstrap: str, *names: str) -> list[Any]:
    """The records of these topics from the first to the present last, in the order of each partition."""
    topics = [f"{suite.environment['WAYBILL_KAFKA_PREFIX']}{name}" for name in names]
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    found: list[Any] = []
    await consumer.start()
    try:
        places = list(consumer.assignment())
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await consumer.stop()
    return found


async def rows_of(url: str, table: str) -> list[str]:
    database = open_database(url)
    try:
        async with database.reading() as session:
            found = await session.execute(text(f"SELECT row_to_json(t)::text FROM {table} t ORDER BY 1"))
            return list(found.scalars())
    finally:
        await database.close()


@pytest.mark.parametrize("made", PROJECTIONS, ids=lambda made: f"{made.service}-{made.tables[-1]}")
async def test_a_projection_rebuilt_from_the_first_event_equals_the_present_one(
    suite: Suite, tenant: Tenant, backing: BackingStack, made: Projection
) -> None:
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    await tenant.update(job_review=True)
    await tenant.create_staff("orders")
    records = await all_records(suite, backing.kafka_bootstrap, identity.TOPIC, billing.TOPIC)
    url = await asyncio.to_thread(migrated, backing, made.service)
    events = [made.vocabulary.read(text_headers(record.headers), record.value) for record in records]
    known = [event for event in events if event is not None]
    assert known

    rebuilt = open_database(url)
    chance = random.Random(len(records))
    try:
        while known:
            size = chance.randint(1, 50)
            batch, known = known[:size], known[size:]
            async with rebuilt.transaction() as session:
                await made.apply(session, batch)
    finally:
        await rebuilt.close()

    for table in made.tables:
        expected = await rows_of(url, table)

        async def equals(table: str = table, expected: list[str] = expected) -> bool:
            return await rows_of(suite.databases[made.service], table) == expected

        # The service may be some records behind.
        await eventually(equals, what=f"{table} of {made.service} is what its events say")
