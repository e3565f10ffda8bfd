"""Autocommit connections: each statement is a transaction by itself, over a connection of the driver.

Two statements are nearly all of this service's work: one stores a batch of events, the other records a group of results. With a session
each would also take a BEGIN and a COMMIT; here it is one round trip. A transaction of more than one statement needs a session.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.database import Database
from shared.postgres.driver_connection import DriverConnection
from shared.postgres.transient_errors import is_transient as is_transient_in_pool

RESULT_SECONDS = 20.0
CAUTIOUS_SECONDS = 60.0
"""After a statement that expects new rows was refused, it is not tried again for this time: repeated events come in groups."""

_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


class Statement:
    """A statement with named parameters, each with its type (`CAST(:x AS …)`), for a session or an autocommit connection."""

    def __init__(self, sql: str):
        names: dict[str, int] = {}
        self.positional = _PARAMETER.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", sql)
        self.names = tuple(names)
        self._text = text(sql)

    async def rows(
        self, source: "AsyncSession | AutocommitConnection", values: Mapping[str, object]
    ) -> Sequence[Sequence[Any]]:
        """The rows of the result. In a session the statement is part of its transaction, else it is one by itself."""
        if isinstance(source, AsyncSession):
            return (await source.execute(self._text, values)).all()
        return await source.fetch(self, values)

    async def rows_if_new(
        self, source: "AsyncSession | AutocommitConnection", values: Mapping[str, object]
    ) -> Sequence[Sequence[Any]] | None:
        """The rows of a statement that expects its rows to be new; see `AutocommitConnection.fetch_new`.

        None without trying in a session, because a refused statement would abort its transaction.
        """
        return await source.fetch_new(self, values) if isinstance(source, AutocommitConnection) else None


class AutocommitConnection:
    """One connection on which each statement is a transaction of its own. Its users take turns."""

    def __init__(self, database: Database, application_name: str):
        self._connection = DriverConnection(database, application_name)
        self._turn = asyncio.Lock()
        self._cautious_until = 0.0

    async def fetch(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Run one statement. Raises what the driver raises; the next call has a working connection in any case."""
        async with self._turn:
            return await self._connection.fetch(
                statement.positional, *(values[name] for name in statement.names), timeout=RESULT_SECONDS
            )

    async def fetch_new(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]] | None:
        """Run one statement that fails if any of its rows exists already.

        None if it failed for this reason, or one did within `CAUTIOUS_SECONDS`: nothing was stored, and the caller has to use a statement
        with ON CONFLICT.
        """
        if time.monotonic() < self._cautious_until:
            return None
        try:
            return await self.fetch(statement, values)
        except asyncpg.UniqueViolationError:
            self._cautious_until = time.monotonic() + CAUTIOUS_SECONDS
            return None

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection in order."""
        await self._connection.close()


def is_transient(error: BaseException) -> bool:
    """True if the same statement may succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return not isinstance(
            error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError | asyncpg.SyntaxOrAccessError
        )
    return isinstance(error, asyncpg.InterfaceError) or is_transient_in_pool(error)
