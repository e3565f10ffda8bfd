"""PostgreSQL: the connection pool, and the transaction in which an operation's changes are committed.

An edge opens a transaction and passes the session down; all changes of the operation are committed together or not at all. Hooks run inside
the transaction as its last statements (the outbox stores its events there) and after a successful commit (the relay is woken there).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic_core import from_json
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

CONNECT_TIMEOUT_SECONDS = 5
POOL_WAIT_SECONDS = 5
CONNECTION_LIFE_SECONDS = 1800
SEARCHERS_MIN = 2
SEARCHERS_SHARE = 4
"""Connections for everything else per connection for searches."""
AUTOCOMMIT = "autocommit"
"""In the `info` of a session whose statements are transactions of their own."""
_APPLICATION = "application_name"


def create_engine(url: str, *, connect_args: Mapping[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine for a database. The driver reads the URL, so that `sslmode` and its like mean the same on every connection."""
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"dsn": plain_url(url), **(connect_args or {})},
        # A row of a list has several JSON columns, and this reads them in a quarter of the time.
        json_deserializer=from_json,
        **options,
    )


def plain_url(url: str, *, database: str | None = None) -> str:
    """A database's URL for the driver itself (`asyncpg.connect`); `database` names another one of the same server."""
    return make_url(url).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def application_of(session: AsyncSession) -> str:
    """The name of the application whose transaction this is: in a service, the service's name."""
    name: str = session.info[_APPLICATION]
    return name


class Database:
    """A pool of connections to one service's database.

    Every connection has time-outs: for a statement, for waiting on a lock, and for a transaction that is open and idle.
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
            # Compiling takes longer than it saves on statements of microseconds.
            "jit": "off",
        }
        self.engine = _engine(url, pool_size, self.server_settings)
        # Rows that are found one condition after the other (`shared.api.pagination`) have to come in this order.
        planned = {
            **self.server_settings,
            "plan_cache_mode": "force_custom_plan",
            "max_parallel_workers_per_gather": "0",
        }
        self.search_engine = _engine(url, max(SEARCHERS_MIN, pool_size // SEARCHERS_SHARE), planned)
        self.before_commit: list[Callable[[AsyncSession], Awaitable[None]]] = []
        self.after_commit: list[Callable[[AsyncSession], None]] = []
        self.session_info: dict[str, Any] = {_APPLICATION: application_name}
        """What every transaction's session has in its `info`: for mechanisms that need no more than a session from their callers."""
        self._sessions = async_sessionmaker(
            self.engine, expire_on_commit=False, autoflush=False, info=self.session_info
        )
        self.autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        """The engine for statements that are transactions of their own, or that belong to one which the driver has begun."""
        self._readers = _reading_sessions(self.autocommit)
        self._searchers = _reading_sessions(self.search_engine.execution_options(isolation_level="AUTOCOMMIT"))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when the block, a hook or the commit raises."""
        async with self._sessions() as session:
            yield session
            # It begins with the first use of the session: without one there is nothing to commit.
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
        """A session for reads: each statement is a transaction of its own and sees what was committed before it. Saves BEGIN and COMMIT."""
        async with self._readers() as session:
            yield session

    @asynccontextmanager
    async def searching(self) -> AsyncIterator[AsyncSession]:
        """A session for reads whose best plan depends on their values: each statement is planned for them.

        It uses a small pool of its own, so that searches never take all connections of other work. A setting that a search makes for its
        session stays on the connection, where only other searches see it.
        """
        async with self._searchers() as session:
            yield session

    async def ping(self) -> None:
        """Raise if PostgreSQL does not answer."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        await self.search_engine.dispose()


def _engine(url: str, pool_size: int, server_settings: dict[str, str]) -> AsyncEngine:
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=CONNECTION_LIFE_SECONDS,
        # Parameters are personal data: they must not appear in the text of an error.
        hide_parameters=True,
        connect_args={"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": server_settings},
    )


def _reading_sessions(autocommit: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(autocommit, expire_on_commit=False, autoflush=False, info={AUTOCOMMIT: True})
