"""Statements that are transactions by themselves, over a connection of the driver's own.

Two statements make up nearly all of this service's work: the one that takes a batch of events, and the one that records a group of
attempts. Over the pool each costs a session, a BEGIN and a COMMIT; here it is one round trip. Anything that needs more than one statement
at once belongs into a session.
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

ANSWER_SECONDS = 20.0
CAUTIOUS_SECONDS = 60.0
"""So long after a row that was there already, others may be there, too."""

_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


class Statement:
    """A statement with named parameters (each with its type: `CAST(:x AS …)`), for a session or a wire."""

    def __init__(self, sql: str):
        names: dict[str, int] = {}
        self.positional = _PARAMETER.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", sql)
        self.names = tuple(names)
        self._text = text(sql)

    async def rows(
        self, source: "AsyncSession | AutocommitConnection", values: Mapping[str, object]
    ) -> Sequence[Sequence[Any]]:
        """All rows of the answer; in a session as part of its transaction, over a wire as one of its own."""
        if isinstance(source, AsyncSession):
            return (await source.execute(self._text, values)).all()
        return await source.fetch(self, values)

    async def rows_if_new(
        self, source: "AsyncSession | AutocommitConnection", values: Mapping[str, object]
    ) -> Sequence[Sequence[Any]] | None:
        """All rows of the answer of a statement that is refused where a row is there already (`Wire.fetch_new`).

        None in a session, too: a refusal would end its transaction.
        """
        return await source.fetch_new(self, values) if isinstance(source, AutocommitConnection) else None


class AutocommitConnection:
    """One connection on which each statement is a transaction of its own. Its users take turns."""

    def __init__(self, database: Database, application_name: str):
        self._connection = DriverConnection(database, application_name)
        self._turn = asyncio.Lock()
        self._cautious_until = 0.0

    async def fetch(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Run one statement. Raises what the driver raises; whatever it was, the next call finds a connection that is whole."""
        async with self._turn:
            return await self._connection.fetch(
                statement.positional, *(values[name] for name in statement.names), timeout=ANSWER_SECONDS
            )

    async def fetch_new(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]] | None:
        """Run one statement that is refused where a row is there already.

        None when it was, or another was lately: nothing was done, and it takes a statement that looks at each row.
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
    """Whether the same statement may work later."""
    if isinstance(error, asyncpg.PostgresError):
        return not isinstance(
            error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError | asyncpg.SyntaxOrAccessError
        )
    return isinstance(error, asyncpg.InterfaceError) or is_transient_in_pool(error)
