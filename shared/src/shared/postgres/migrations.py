"""Alembic, run from inside a service's package, so that its image can migrate itself.

The tables that every service has (outbox, idempotency, access) are defined once in `shared`; the SQL that makes them, and later
changes them, is frozen per revision in `base_tables/`, because a migration must do tomorrow what it did today.
"""

import asyncio
from importlib import resources
from pathlib import Path

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.postgres.advisory_locks import AdvisoryLock, lock_connection
from shared.postgres.database import driver_url

LOCK_TIMEOUT_MS = 5_000


def base_table_statements(revision: int | None = None) -> list[str]:
    """The SQL statements of one revision of those tables; None: of all of them in order, which make the tables as they are now."""
    folder = resources.files("shared.postgres").joinpath("base_tables")
    names = [f"{revision:04}.sql"] if revision is not None else sorted(script.name for script in folder.iterdir())
    scripts = [folder.joinpath(name).read_text() for name in names]
    return [statement for script in scripts for statement in script.split(";\n") if statement.strip()]


def create_base_tables() -> None:
    """Inside a service's first migration: create those tables."""
    upgrade_base_tables(1)


def upgrade_base_tables(revision: int) -> None:
    """Inside a migration: bring those tables from the revision before to this one."""
    for statement in base_table_statements(revision):
        op.execute(text(statement))


def migrate(package: str, url: str, revision: str = "head") -> None:
    """Bring a service's database to its newest revision, or up to this one; replicas that start together take turns. Blocks."""
    config = _config(package, url)
    command.upgrade(config, revision)


def run(metadata: MetaData) -> None:
    """The whole of a service's `env.py`."""
    asyncio.run(_run(context.config.get_main_option("url") or "", metadata))


def _config(package: str, url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files(package))) / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("url", url.replace("%", "%%"))
    return config


async def _run(url: str, metadata: MetaData) -> None:
    engine = create_async_engine(driver_url(url), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_upgrade, metadata)
        await connection.commit()
    await engine.dispose()


def _upgrade(connection: Connection, metadata: MetaData) -> None:
    # A lock of the session, which ends with the connection: the next process finds its work done. Waiting for it has no time-out,
    # waiting for a table has: a migration must not queue behind a long transaction and hold up everybody else.
    lock_connection(connection, AdvisoryLock.MIGRATIONS)
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
