"""Alembic, run from a service's package, so that its image contains its migrations.

The tables that every service has (outbox, idempotency, access) are defined once in `shared`. The SQL that creates and changes them is
frozen in `base_tables/`, one file per revision, because a migration must always do the same.
"""

import asyncio
from importlib import resources
from pathlib import Path

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool, text

from shared.postgres.advisory_locks import AdvisoryLock, lock_connection
from shared.postgres.database import create_engine

LOCK_TIMEOUT_MS = 5_000


def base_table_statements(revision: int | None = None) -> list[str]:
    """The SQL statements of one revision of the base tables, or of all revisions in order: these make the present tables."""
    folder = resources.files("shared.postgres").joinpath("base_tables")
    names = [f"{revision:04}.sql"] if revision is not None else sorted(script.name for script in folder.iterdir())
    scripts = [folder.joinpath(name).read_text() for name in names]
    return [statement for script in scripts for statement in script.split(";\n") if statement.strip()]


def create_base_tables() -> None:
    """In a service's first migration: create the base tables."""
    upgrade_base_tables(1)


def upgrade_base_tables(revision: int) -> None:
    """In a migration: change the base tables from the revision before to this one."""
    for statement in base_table_statements(revision):
        op.execute(text(statement))


def migrate(package: str, url: str, revision: str = "head") -> None:
    """Migrate a service's database to this revision; replicas that start together do it one after the other. Blocks."""
    config = _config(package, url)
    command.upgrade(config, revision)


def run(metadata: MetaData) -> None:
    """Run the migrations: all that a service's `env.py` does."""
    asyncio.run(_run(context.config.get_main_option("url") or "", metadata))


def _config(package: str, url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files(package))) / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("url", url.replace("%", "%%"))
    return config


async def _run(url: str, metadata: MetaData) -> None:
    engine = create_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_upgrade, metadata)
        await connection.commit()
    await engine.dispose()


def _upgrade(connection: Connection, metadata: MetaData) -> None:
    # The lock is held until the connection ends; the next process then finds the migrations applied. Waiting for it has no time-out.
    # Waiting for a table has one: a migration must not wait behind a long transaction and block all others.
    lock_connection(connection, AdvisoryLock.MIGRATIONS)
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
