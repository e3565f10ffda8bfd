"""A company as large as the console has to bear it: merchants, jobs and deliveries, written by SQL into the databases of its services."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from bench import job_stock, webhook_stock
from identity.config import Settings
from shared.chassis.settings import load_settings
from shared.ids import from_uuid, to_uuid
from shared.postgres.database import plain_url
from tests.harness.merchant_stock import write_merchants
from tests.harness.people import Tenant
from tests.harness.services import open_database
from tests.harness.stack import BackingStack
from tests.harness.suite import Suite

NAMES = ("Boulangerie", "Fleuriste", "Librairie", "Quincaillerie", "Épicerie")
FIRST_NUMBER = 1_000_000
DISTINCT_JOBS = 20_000
"""Jobs with words of their own; the others are copies of them, each with another id, reference and instant."""
FAILED_OF = 100
"""One delivery of so many has failed."""

_FAIL = f"""
    UPDATE deliveries SET status = 'failed', failure = 'exhausted', cause = 'status', response_status = 503, attempts_made = 12
    WHERE tenant_id = $1 AND status = 'delivered' AND hashtext(event_id::text) % {FAILED_OF} = 0
"""

# Ids of version 7, as the service makes them: the millisecond first.
_COPY_ID = """
    CREATE FUNCTION pg_temp.copy_id(old uuid, at timestamptz, k int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(mixed, 1, 3) || '8'
            || substr(mixed, 4, 15))::uuid FROM md5(old::text || k) AS mixed
    $$
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_AT = "job.created_at - k * interval '17 minutes'"
_JOB_ID = f"pg_temp.copy_id(job.id, {_AT}, k)"
_COPIED = (
    ("actions", "job_id", {"id": f"pg_temp.copy_id(old.id, {_AT}, k)", "job_id": _JOB_ID, "created_at": _AT}),
    ("job_history", "job_id", {"job_id": _JOB_ID, "event_id": _JOB_ID, "occurred_at": _AT}),
    (
        "jobs",
        "id",
        {"id": _JOB_ID, "created_at": _AT, "updated_at": _AT, "reference_id": "old.reference_id || '-' || k"},
    ),
)
"""Tables with the column that has their job's id, and what differs in a copy."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything there is."""

    merchants: int
    jobs: int
    deliveries: int


@asynccontextmanager
async def _superuser(backing: BackingStack, url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(_as_superuser(backing, url), command_timeout=3600)
    try:
        yield connection
    finally:
        await connection.close()


def _as_superuser(backing: BackingStack, url: str) -> str:
    return plain_url(backing.postgres_admin_url, database=urlsplit(url).path.lstrip("/"))


async def fill(backing: BackingStack, suite: Suite, tenant: Tenant, endpoint_ids: Sequence[str], sizes: Sizes) -> None:
    """Write it all for this tenant, beside what it has; the deliveries are those of these endpoints."""
    livemode = bool((await suite.platform.read(f"/v1/tenants/{tenant.id}"))["livemode"])
    await _write_merchants(suite, tenant, sizes.merchants)
    async with _superuser(backing, suite.databases["identity"]) as connection:
        found = await connection.fetch("SELECT merchant_id FROM merchants WHERE tenant_id = $1", to_uuid(tenant.id))
        merchant_ids = [from_uuid("mer", row["merchant_id"]) for row in found]
        await connection.execute("VACUUM ANALYZE")
    shop = job_stock.Shop(tenant.id, merchant_ids, [tenant.default_location], livemode=livemode)
    jobs_url = _as_superuser(backing, suite.databases["jobs"])
    distinct = min(sizes.jobs, DISTINCT_JOBS)
    await job_stock.fill(jobs_url, shop, first=0, total=distinct, rebuild=False)
    async with _superuser(backing, suite.databases["jobs"]) as connection:
        await _copy_jobs(connection, to_uuid(tenant.id), sizes.jobs // distinct - 1)
    await _write_deliveries(backing, suite, tenant, endpoint_ids, sizes.deliveries, livemode=livemode)


async def _write_merchants(suite: Suite, tenant: Tenant, count: int) -> None:
    os.environ.update(suite.environment)
    settings = await asyncio.to_thread(load_settings, Settings)
    await write_merchants(settings, tenant, count, lambda number: f"{NAMES[number % len(NAMES)]} Numéro{number}")


async def _copy_jobs(connection: asyncpg.Connection, tenant: UUID, copies: int) -> None:
    """Write copies of each job of the tenant with its actions and its history, each copy some minutes earlier than the one before."""
    indexes = await connection.fetch(job_stock.INDEXES)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    # Skips the foreign key checks: the keys are right by construction.
    await connection.execute(f"SET session_replication_role = replica; SET maintenance_work_mem = '1GB'; {_COPY_ID}")
    # Jobs come last: the originals are what the others are joined with.
    for table, key, changed in _COPIED:
        columns = [row[0] for row in await connection.fetch(_COLUMNS, table)]
        values = ", ".join(changed.get(column, f"old.{column}") for column in columns)
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
            f" FROM {table} AS old JOIN jobs AS job ON job.id = old.{key}"
            f" CROSS JOIN generate_series(1, {copies}) AS k WHERE job.tenant_id = '{tenant}'"
        )
    for index in indexes:
        await connection.execute(index["indexdef"])
    for table, _, _ in _COPIED:
        await connection.execute(f"VACUUM (ANALYZE) {table}")


async def _write_deliveries(
    backing: BackingStack, suite: Suite, tenant: Tenant, endpoint_ids: Sequence[str], count: int, *, livemode: bool
) -> None:
    url = suite.databases["webhooks"]
    database = open_database(url)
    try:
        await webhook_stock.make_days(database)
    finally:
        await database.close()
    async with _superuser(backing, url) as connection:

        async def watch(query: str, /, *values: object) -> Any:
            return await connection.fetchval(query, *values)

        ids = [to_uuid(endpoint_id) for endpoint_id in endpoint_ids]
        source = (tenant.id, tenant.default_location)
        await webhook_stock.write_delivered(watch, source, ids, FIRST_NUMBER, count, livemode=livemode)
        await watch(_FAIL, to_uuid(tenant.id))
        await webhook_stock.settle(watch)
