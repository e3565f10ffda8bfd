"""The clock of a database under the control of a test: `now()` of a schema that PostgreSQL searches before its own."""

from datetime import datetime, timedelta

import asyncpg

from shared.postgres.database import plain_url

_INSTALL = """
    CREATE SCHEMA stepped;
    CREATE TABLE stepped.clock (at timestamptz NOT NULL);
    INSERT INTO stepped.clock VALUES (pg_catalog.now());
    CREATE FUNCTION stepped.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM stepped.clock';
"""


class SteppedClock:
    """A clock that stands still until the test steps it, forward or back, for all connections made after `install`."""

    def __init__(self, url: str):
        self._url = plain_url(url)

    async def install(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_INSTALL)
            name = await connection.fetchval("SELECT quote_ident(current_database())")
            await connection.execute(f"ALTER DATABASE {name} SET search_path = stepped, pg_catalog, public")
        finally:
            await connection.close()

    async def now(self) -> datetime:
        return await self._run("SELECT at FROM stepped.clock")

    async def step(self, by: timedelta) -> datetime:
        """Set the clock forward, or back; returns what it shows then."""
        return await self._run("UPDATE stepped.clock SET at = at + $1 RETURNING at", by)

    async def _run(self, statement: str, *values: object) -> datetime:
        connection = await asyncpg.connect(self._url)
        try:
            found: datetime = await connection.fetchval(statement, *values)
            return found
        finally:
            await connection.close()
