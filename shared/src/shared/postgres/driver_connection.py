"""The driver itself (asyncpg), for paths on which SQLAlchemy's share of a statement's cost is too large.

`driver_of` is the connection of a session: its statements belong to the session's transaction. `driver_transaction` is a transaction for
such statements alone, and `driver_reading` a connection of the pool on which each statement is a transaction of its own.

Beside `Database.transaction` this is the only place that commits. The relay's turn is a `transaction` here: a few short statements, many
times a second. Log-ins use `driver_transaction`. Webhooks' delivery path uses `fetch`: a statement that is a transaction of its own, in
one round trip.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from shared.errors import WaybillError
from shared.postgres.database import AUTOCOMMIT, CONNECT_TIMEOUT_SECONDS, Database, plain_url
from shared.postgres.transient_errors import is_transient

CLOSE_SECONDS = 1.0

_DRIVER = "driver"

# SQLAlchemy begins a transaction with its first statement.
_BEGIN_TRANSACTION = text("SELECT")


async def connect(database: Database, application_name: str, **settings: str) -> asyncpg.Connection:
    """A connection with the time-outs of this database's pool, and these settings instead of or beside the pool's."""
    return await asyncpg.connect(
        plain_url(database.url),
        timeout=CONNECT_TIMEOUT_SECONDS,
        server_settings={**database.server_settings, "application_name": application_name, **settings},
    )


async def driver_of(session: AsyncSession) -> asyncpg.Connection:
    """The driver's connection of a session, in the session's transaction if it has one. A statement takes half the time on it."""
    if (own := session.info.get(_DRIVER)) is not None:
        return own
    driver = _driver_under(await session.connection())
    assert driver is not None
    if not driver.is_in_transaction() and AUTOCOMMIT not in session.info:
        await session.execute(_BEGIN_TRANSACTION)
    return driver


@asynccontextmanager
async def driver_reading(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool for statements that are transactions of their own, as in `Database.reading`, in a third of the time."""
    async with database.engine.connect() as connection, _driver_of_pool(connection) as driver:
        yield driver


@asynccontextmanager
async def driver_transaction(database: Database) -> AsyncIterator[AsyncSession]:
    """One transaction, as in `Database.transaction`, in a third of the time.

    It is for statements of `driver_of(session)`, and for a few of the session's own, which cost what they always cost; it has no objects
    to flush.
    """
    async with database.autocommit.connect() as connection, _driver_of_pool(connection) as driver:
        driver = await _begin(connection, driver)
        session = AsyncSession(connection, autoflush=False, info={**database.session_info, _DRIVER: driver})
        try:
            yield session
            for hook in database.before_commit:
                await hook(session)
            if session.in_transaction():
                # Of its own statements; they belong to the driver's transaction.
                await session.close()
        except WaybillError:
            await driver.execute("ROLLBACK")
            raise
        await driver.execute("COMMIT")
    for done in database.after_commit:
        done(session)


@asynccontextmanager
async def _driver_of_pool(connection: AsyncConnection) -> AsyncIterator[asyncpg.Connection]:
    driver = await _open_driver(connection)
    try:
        yield driver
    except WaybillError:
        raise
    except BaseException:
        # The pool must not give the next a connection that is broken, busy or in a transaction.
        await connection.invalidate()
        raise


async def _open_driver(connection: AsyncConnection) -> asyncpg.Connection:
    driver = _driver_under(connection)
    # Otherwise the server ended it while it was in the pool.
    return await _renewed(connection) if driver is None or driver.is_closed() else driver


async def _begin(connection: AsyncConnection, driver: asyncpg.Connection) -> asyncpg.Connection:
    """Begin a transaction; on another connection if the server is ending this one, which the driver may learn only now."""
    try:
        await driver.execute("BEGIN")
    except Exception as error:
        if not is_transient(error):
            raise
        driver = await _renewed(connection)
        await driver.execute("BEGIN")
    return driver


async def _renewed(connection: AsyncConnection) -> asyncpg.Connection:
    """Another connection of the pool, in the place of one that was ended."""
    await connection.invalidate()
    await connection.get_raw_connection()
    driver = _driver_under(connection)
    assert driver is not None
    return driver


def _driver_under(connection: AsyncConnection) -> asyncpg.Connection | None:
    """What is under an open connection. Asking for it takes no I/O, but SQLAlchemy's own way switches greenlets."""
    assert connection.sync_connection is not None
    return connection.sync_connection.connection.driver_connection


class DriverConnection:
    """One connection, made when it is first needed and again after a failure. One task at a time may use it."""

    def __init__(self, database: Database, application_name: str, **settings: str):
        self._database = database
        self._application_name = application_name
        self._settings = settings
        self._connection: asyncpg.Connection | None = None

    async def connect(self) -> asyncpg.Connection:
        """The connection; made when there is none that is open."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._database, self._application_name, **self._settings)
        return self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction: committed when the block ends. When anything in it raises, the connection is closed, which rolls it back."""
        connection = await self.connect()
        try:
            await connection.execute("BEGIN")
            yield connection
            await connection.execute("COMMIT")
        except BaseException:
            # Unlike a ROLLBACK this is bounded, also when the server does not answer any more.
            await self.close()
            raise

    async def fetch(self, statement: str, *values: object, timeout: float) -> Sequence[Sequence[Any]]:
        """Run one statement as a transaction of its own. Raises what the driver raises; the next call has a working connection."""
        try:
            connection = await self.connect()
            found: Sequence[Sequence[Any]] = await connection.fetch(statement, *values, timeout=timeout)
            return found
        except asyncpg.UniqueViolationError:
            # The database refused the rows; the connection is still good.
            raise
        except BaseException:
            self._terminate()
            raise

    async def close(self) -> None:
        """Close the connection in order, or abort it after `CLOSE_SECONDS`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # In any state: the driver aborts a connection that it cannot close in order.
            with suppress(Exception):
                await connection.close(timeout=CLOSE_SECONDS)

    def _terminate(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
