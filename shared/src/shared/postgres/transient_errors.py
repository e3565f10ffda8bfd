"""Errors after which the same call may succeed later, because a component was away or busy."""

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_TRANSIENT_SQLSTATES = {"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "25P03", "25P04"}


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: the database, or another component, was away or busy."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError | TimeoutError):
        return True
    # The driver itself, where statements go past SQLAlchemy. On a connection that the server is ending, and has not closed yet, it says
    # that its own state is wrong.
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | asyncpg.PostgresConnectionError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in _TRANSIENT_SQLSTATES
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_SQLSTATES
    return False
