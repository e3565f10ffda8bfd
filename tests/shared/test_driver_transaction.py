"""A transaction of the driver's own: hooks run in it, a refusal rolls it back, and what broke its connection reaches nobody else."""

import asyncpg
import pytest
from sqlalchemy import text

from shared.errors import Conflict
from shared.messaging import outbox
from shared.postgres.database import Database, plain_url
from shared.postgres.driver_connection import driver_of, driver_reading, driver_transaction
from tests.harness.transport import note, noted_on

WRITE = "INSERT INTO consumer_progress VALUES ($1, 'topic', now(), 0)"


async def written(database: Database, name: str) -> int:
    async with driver_reading(database) as driver:
        found: int = await driver.fetchval("SELECT count(*) FROM consumer_progress WHERE consumer = $1", name)
        return found


async def test_what_was_written_and_published_is_committed_together(database: Database) -> None:
    woken: list[bool] = []
    outbox.attach(database, lambda: woken.append(True))

    async with driver_transaction(database) as session:
        await (await driver_of(session)).execute(WRITE, "committed")
        outbox.publish(session, note(noted_on("topic"), "key", 1))
        assert await written(database, "committed") == 0

    assert await written(database, "committed") == 1
    async with driver_reading(database) as driver:
        assert await driver.fetchval("SELECT count(*) FROM outbox") == 1
    assert woken == [True]


async def test_a_refusal_leaves_nothing_neither_of_the_driver_nor_of_the_session(database: Database) -> None:
    async def refuse() -> None:
        async with driver_transaction(database) as session:
            await (await driver_of(session)).execute(WRITE, "refused")
            seen = await session.execute(text("SELECT count(*) FROM consumer_progress WHERE consumer = 'refused'"))
            assert seen.scalar_one() == 1
            await session.execute(text("INSERT INTO consumer_progress VALUES ('refused too', 'topic', now(), 0)"))
            raise Conflict("no")

    with pytest.raises(Conflict):
        await refuse()

    assert await written(database, "refused") == await written(database, "refused too") == 0


async def test_a_statement_of_the_session_is_committed_with_those_of_the_driver(database: Database) -> None:
    async with driver_transaction(database) as session:
        await session.execute(text("INSERT INTO consumer_progress VALUES ('by the session', 'topic', now(), 0)"))
        await (await driver_of(session)).execute(WRITE, "by the driver")
        assert await written(database, "by the session") == 0

    assert await written(database, "by the session") == await written(database, "by the driver") == 1


async def test_a_connection_that_was_broken_or_ended_is_given_to_nobody(database: Database) -> None:
    async with driver_reading(database) as driver:
        ended = await driver.fetchval("SELECT pg_backend_pid()")
    other = await asyncpg.connect(plain_url(database.url))
    try:
        await other.execute("SELECT pg_terminate_backend($1)", ended)
    finally:
        await other.close()

    async def write_twice() -> None:
        async with driver_transaction(database) as session:
            for _ in range(2):
                await (await driver_of(session)).execute(WRITE, "twice")

    with pytest.raises(asyncpg.UniqueViolationError):
        await write_twice()
    assert await written(database, "twice") == 0
    async with driver_transaction(database) as session:
        await (await driver_of(session)).execute(WRITE, "afterwards")
    assert await written(database, "afterwards") == 1
