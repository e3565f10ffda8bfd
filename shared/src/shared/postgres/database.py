"""PostgreSQL: engine, pool, and the one place in the suite that commits.

An edge opens a transaction, hands the session down, and everything that the operation did becomes visible at once or not at all. Hooks
run inside the transaction as its last statements (the outbox writes its rows there) and after a successful commit (the relay wakes up).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

CONNECT_TIMEOUT_SECONDS = 5
POOL_WAIT_SECONDS = 5
CONNECTION_LIFE_SECONDS = 1800
SEARCHERS_MIN = 2
SEARCHERS_SHARE = 4
"""Of so many connections for everything else there is one more for searches."""


def driver_url(url: str) -> URL:
    """A database's URL for SQLAlchemy: with the asynchronous driver named."""
    return make_url(url).set(drivername="postgresql+asyncpg")


def plain_url(url: str, *, database: str | None = None) -> str:
    """A database's URL for the driver itself (`asyncpg.connect`); `database` names another one of the same server."""
    return make_url(url).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


class Database:
    """A pool of connections to one service's database.

    Time-outs are set for every connection, so that a stuck statement, a lock that never comes and a transaction whose owner has gone
    silent all end by themselves.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 16,
        statement_timeout_ms: int = 15_000,
        lock_timeout_ms: int = 5_000,
        idle_in_transaction_timeout_ms: int = 30_000,
    ):
        self.url = url
        self.server_settings = {
            "application_name": application_name,
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(idle_in_transaction_timeout_ms),
            "timezone": "UTC",
            # Compiling costs more than it saves on statements that take microseconds.
            "jit": "off",
        }
        self.engine = _engine(url, pool_size, self.server_settings)
        # Rows that are found one condition after the other (`http.lists`) have to come in this order.
        planned = {
            **self.server_settings,
            "plan_cache_mode": "force_custom_plan",
            "max_parallel_workers_per_gather": "0",
        }
        self.search_engine = _engine(url, max(SEARCHERS_MIN, pool_size // SEARCHERS_SHARE), planned)
        self.before_commit: list[Callable[[AsyncSession], Awaitable[None]]] = []
        self.after_commit: list[Callable[[AsyncSession], None]] = []
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self._readers = _reading_sessions(self.engine)
        self._searchers = _reading_sessions(self.search_engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when anything in it raises, the commit itself included."""
        async with self._sessions() as session:
            yield session
            # It begins with the first use of the session: where there was none, there is nothing to end.
            if session.in_transaction():
                await session.flush()
            for hook in self.before_commit:
                await hook(session)
            if session.in_transaction():
                await session.commit()
            for done in self.after_commit:
                done(session)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for reads alone: each statement sees what is committed when it starts; saves BEGIN and COMMIT."""
        async with self._readers() as session:
            yield session

    @asynccontextmanager
    async def searching(self) -> AsyncIterator[AsyncSession]:
        """A session for reads whose best plan depends on what is asked: each statement is planned for its values.

        Its connections are few and its own, so that no number of searches keeps other work from the database; settings of a session that a
        search makes stay, and meet other searches alone.
        """
        async with self._searchers() as session:
            yield session

    async def ping(self) -> None:
        """Raises whatever keeps us from PostgreSQL."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        await self.search_engine.dispose()


def _engine(url: str, pool_size: int, server_settings: dict[str, str]) -> AsyncEngine:
    return create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=CONNECTION_LIFE_SECONDS,
        # Parameters are people's data: they have no place in an error's text.
        hide_parameters=True,
        connect_args={"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": server_settings},
    )


def _reading_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    return async_sessionmaker(autocommit, expire_on_commit=False, autoflush=False)
