"""Compares the tables of a migrated database with the models."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, pool, text

from shared.postgres.database import create_engine


def drift(url: str, metadata: MetaData) -> list[object]:
    """What the tables have that the models don't, and the other way round. Blocks."""
    return asyncio.run(_drift(url, metadata))


async def _drift(url: str, metadata: MetaData) -> list[object]:
    engine = create_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: compare_metadata(_compared(sync), metadata))
    await engine.dispose()
    return [entry for entry in found if "alembic_version" not in str(entry)]


def _compared(connection: Connection) -> MigrationContext:
    # Partitions come and go while a service runs; what they are partitions of is what the models describe.
    partitions = set(connection.execute(text("SELECT relname FROM pg_class WHERE relispartition")).scalars())
    return MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": False,
            "include_name": lambda name, kind, parents: not (kind == "table" and name in partitions),
        },
    )
