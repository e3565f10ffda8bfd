"""Writes jobs as a large shop would have them: repeating names, common and rare tags, unique numbers, dates of two years.

The rows have the service's own search tokens (`jobs.search_index.tokens`), but are written by SQL: three million jobs would take an hour
through the API. `fill` can drop the indexes while it writes and create them afterwards.
"""

import asyncio
import json
import multiprocessing
import random
import sys
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import asyncpg

from jobs.search_index import tokens
from shared.events.jobs import ActionState, AddressState, ContactState, JobState
from shared.ids import from_uuid, to_uuid

CHUNK_ROWS = 50_000
WRITERS = 2
SPAN = timedelta(days=730)
JOBS_PER_CUSTOMER = 5
SKUS = 20_000
RARE_TAGS = 1_000
SHOPS = 50

STATUSES = ("completed", "new", "in_progress", "cancelled", "partially_completed", "incomplete", "resolved", "damaged")
STATUS_WEIGHTS = (80, 8, 3, 4, 2, 1.5, 1.3, 0.2)
TYPES = ("delivery", "pickup", "installation", "service", "return", "exchange", "custom")
TYPE_WEIGHTS = (70, 12, 8, 5, 4, 0.9, 0.1)
CITIES = (
    "Montréal",
    "Laval",
    "Longueuil",
    "Québec",
    "Gatineau",
    "Sherbrooke",
    "Lévis",
    "Saguenay",
    "Terrebonne",
    "Repentigny",
)
STREETS = ("Rue", "Avenue", "Boulevard", "Chemin", "Place", "Rang")
GOODS = (
    "sofa",
    "table",
    "lamp",
    "fridge",
    "washer",
    "dryer",
    "bed",
    "mattress",
    "desk",
    "chair",
    "oven",
    "shelf",
    "rug",
)
_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "la",
    "me",
    "ni",
    "po",
    "ru",
    "sa",
    "te",
    "vi",
    "zo",
    "cha",
    "tre",
    "plo",
    "bri",
)

_JOB_COLUMNS = [
    "id",
    "merchant_id",
    "reference_id",
    "status",
    "type",
    "location_id",
    "scheduled_date",
    "created_at",
    "updated_at",
    "short_description",
    "contact",
    "address",
    "invoices",
    "barcodes",
    "tags",
    "metadata",
    "terms",
    "parts",
    "customer_key",
]
_ACTION_COLUMNS = [
    "id",
    "job_id",
    "merchant_id",
    "position",
    "sku",
    "description",
    "quantity",
    "barcode",
    "status",
    "created_at",
    "terms",
    "parts",
]
_STAGING = """
    CREATE TEMP TABLE staged_jobs (
        id uuid, merchant_id uuid, reference_id text, status text, type text, location_id uuid, scheduled_date date,
        created_at timestamptz, updated_at timestamptz, short_description text, contact jsonb, address jsonb, invoices text[],
        barcodes text[], tags text[], metadata jsonb, terms text[], parts text, customer_key text
    );
    CREATE TEMP TABLE staged_actions (
        id uuid, job_id uuid, merchant_id uuid, position integer, sku text, description text, quantity integer, barcode text,
        status text, created_at timestamptz, terms text[], parts text
    );
"""
_WRITE_JOBS = """
    INSERT INTO jobs (
        id, tenant_id, merchant_id, livemode, reference_id, status, status_changed_at, type, location_id, scheduled_date, timezone,
        priority, short_description, contact, address, invoices, barcodes, tags, metadata, created_by, version, created_at,
        updated_at, terms, parts, customer_key
    )
    SELECT id, $1, merchant_id, $2, reference_id, status, updated_at, type, location_id, scheduled_date, 'America/Montreal', 0,
        short_description, contact, address, invoices, barcodes, tags, metadata, 'bench', 1, created_at, updated_at,
        array_to_tsvector(terms), parts, customer_key
    FROM staged_jobs
"""
_WRITE_ACTIONS = """
    INSERT INTO actions (
        id, job_id, tenant_id, merchant_id, livemode, type, position, sku, description, quantity, barcode, status, version,
        created_at, updated_at, terms, parts
    )
    SELECT id, job_id, $1, merchant_id, $2, 'delivery', position, sku, description, quantity, barcode, status, 1, created_at,
        created_at, array_to_tsvector(terms), parts
    FROM staged_actions
"""
_WRITE_HISTORY = """
    INSERT INTO job_history (job_id, sequence, occurred_at, event_id, type, actor, changed_fields, changes)
    SELECT id, 1, created_at, id, 'job.created', 'bench', '{}', '{}' FROM staged_jobs
"""
INDEXES = """
    SELECT indexdef, indexname FROM pg_indexes
    WHERE tablename IN ('jobs', 'actions') AND indexname NOT LIKE 'pk_%' ORDER BY indexname
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """The owner of the jobs. The first merchant has the most."""

    tenant_id: str
    merchant_ids: Sequence[str]
    location_ids: Sequence[str]
    livemode: bool = True
    until: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Creation instant of the last job."""


@dataclass(frozen=True, slots=True)
class StockedJob:
    """One generated job, with the fields that searches use."""

    number: int
    created_at: datetime
    job: JobState
    actions: Sequence[ActionState]


def jobs_of(shop: Shop, first: int, count: int, total: int) -> Iterator[StockedJob]:
    """Generate jobs `first` to `first + count`. `total` sets the ratio of customers; the result depends on the arguments alone."""
    rng = random.Random(first)
    customers = max(1, total // JOBS_PER_CUSTOMER)
    for number in range(first, first + count):
        yield _job(shop, number, total, customers, rng)


async def fill(url: str, shop: Shop, *, first: int, total: int, rebuild: bool) -> None:
    """Write jobs `first` to `total`. `url` must be of a superuser. With `rebuild` the indexes are dropped and created afterwards."""
    connection = await asyncpg.connect(url, command_timeout=3600)
    indexes = await connection.fetch(INDEXES) if rebuild else []
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    loop = asyncio.get_running_loop()
    # Spawned, so that they do not inherit the signal handlers of this process and can be terminated.
    writers = ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("spawn"))
    try:
        chunks = [
            loop.run_in_executor(writers, _write_chunk, url, shop, start, min(CHUNK_ROWS, total - start), total)
            for start in range(first, total, CHUNK_ROWS)
        ]
        for done, chunk in enumerate(asyncio.as_completed(chunks), start=1):
            await chunk
            _progress(f"{min(total - first, done * CHUNK_ROWS):,} of {total - first:,} jobs written")
    finally:
        running = list((writers._processes or {}).values())
        writers.shutdown(wait=False, cancel_futures=True)
        for writer in running:
            writer.terminate()
    # GIN indexes take longest and use one processor each, so they are created first.
    pending = sorted(indexes, key=lambda index: " gin " in index["indexdef"].lower())
    await asyncio.gather(*(_create_indexes(url, pending) for _ in range(WRITERS)))
    for table in ("jobs", "actions", "job_history"):
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.close()


async def _create_indexes(url: str, indexes: list[asyncpg.Record]) -> None:
    """Create the indexes of the list, last one first, until none is left."""
    connection = await asyncpg.connect(url, command_timeout=3600)
    await connection.execute("SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = 0")
    while indexes:
        index = indexes.pop()
        await connection.execute(index["indexdef"])
        _progress(f"{index['indexname']} created")
    await connection.close()


def _write_chunk(url: str, shop: Shop, first: int, count: int, total: int) -> None:
    asyncio.run(_write(url, shop, first, count, total))


async def _write(url: str, shop: Shop, first: int, count: int, total: int) -> None:
    connection = await asyncpg.connect(url, command_timeout=600)
    # Skips the foreign key checks: the keys are right by construction.
    await connection.execute(f"SET session_replication_role = replica; SET synchronous_commit = off; {_STAGING}")
    stocked = list(jobs_of(shop, first, count, total))
    await connection.copy_records_to_table(
        "staged_jobs", records=[_job_record(shop, one) for one in stocked], columns=_JOB_COLUMNS
    )
    actions = [_action_record(shop, one, action) for one in stocked for action in one.actions]
    await connection.copy_records_to_table("staged_actions", records=actions, columns=_ACTION_COLUMNS)
    tenant = to_uuid(shop.tenant_id)
    await connection.execute(_WRITE_JOBS, tenant, shop.livemode)
    await connection.execute(_WRITE_ACTIONS, tenant, shop.livemode)
    await connection.execute(_WRITE_HISTORY)
    await connection.close()


def _job(shop: Shop, number: int, total: int, customers: int, rng: random.Random) -> StockedJob:
    created_at = shop.until - SPAN + SPAN * (number / total)
    updated_at = created_at + timedelta(seconds=rng.randrange(864_000))
    customer = random.Random(rng.randrange(customers))
    first_name, last_name = _name(customer.randrange(300)), _name(300 + int(customer.paretovariate(0.6)) % 20_000)
    phone = f"+1514{customer.randrange(10_000_000):07d}"
    street = f"{customer.choice(STREETS)} {_name(30_000 + customer.randrange(3_000))}"
    job_id = from_uuid("job", _uuid7(created_at, rng))
    actions = [_action(job_id, place, created_at, rng) for place in range(1, 1 + rng.choice((1, 1, 1, 2)))]
    tags = [tag for tag, share in (("fragile", 0.1), ("heavy", 0.01), ("vip", 0.001)) if rng.random() < share]
    job = JobState.model_construct(
        id=job_id,
        merchant_id=shop.merchant_ids[min(int(rng.paretovariate(0.8)) - 1, len(shop.merchant_ids) - 1)],
        reference_id=f"WEB{number:08d}",
        status=rng.choices(STATUSES, STATUS_WEIGHTS)[0],
        type=rng.choices(TYPES, TYPE_WEIGHTS)[0],
        short_description=f"{rng.choice(GOODS)} {_name(40_000 + rng.randrange(2_000))}",
        scheduled_date=None if rng.random() < 0.1 else created_at.date() + timedelta(days=rng.randrange(14)),
        contact=ContactState.model_construct(
            first_name=first_name,
            last_name=last_name,
            company=None,
            phone=phone,
            email=f"{last_name}{phone[-4:]}@example.com".lower(),
        ),
        address=AddressState.model_construct(
            raw=None,
            line1=f"{customer.randrange(1, 9999)} {street}",
            line2=None,
            city=customer.choice(CITIES),
            region="QC",
            postal_code=f"H{customer.randrange(10)}A {customer.randrange(10)}B{customer.randrange(10)}",
            country="CA",
        ),
        location_id=shop.location_ids[min(int(rng.paretovariate(1)) - 1, len(shop.location_ids) - 1)],
        invoices=[f"F-{number:08d}"],
        barcodes=[f"{number * 7919 % 10**10:010d}"],
        tags=[*tags, f"route-{rng.randrange(RARE_TAGS)}"],
        metadata={"shop": str(rng.randrange(SHOPS))},
        actions=actions,
        created_by="bench",
        livemode=True,
        version=1,
        created_at=created_at,
        updated_at=updated_at,
    )
    return StockedJob(number, created_at, job, actions)


def _action(job_id: str, place: int, created_at: datetime, rng: random.Random) -> ActionState:
    return ActionState.model_construct(
        id=from_uuid("act", _uuid7(created_at, rng)),
        job_id=job_id,
        type="delivery",
        position=place,
        sku=f"S-{rng.randrange(SKUS):05d}",
        description=f"{rng.choice(GOODS)} {_name(50_000 + rng.randrange(500))}",
        quantity=rng.randrange(1, 5),
        barcode=f"A{rng.randrange(10**10):010d}",
        status=rng.choices(("completed", "undetermined", "damaged"), (85, 14, 1))[0],
        version=1,
        created_at=created_at,
        updated_at=created_at,
    )


def _job_record(shop: Shop, one: StockedJob) -> tuple[Any, ...]:
    job = one.job
    return (
        to_uuid(job.id),
        to_uuid(job.merchant_id),
        job.reference_id,
        job.status,
        job.type,
        to_uuid(job.location_id),
        job.scheduled_date,
        job.created_at,
        job.updated_at,
        job.short_description,
        json.dumps({name: value for name, value in job.contact.model_dump().items() if value}),
        json.dumps({name: value for name, value in job.address.model_dump().items() if value}),
        job.invoices,
        job.barcodes,
        job.tags,
        json.dumps(job.metadata),
        tokens.job_tokens(job, shop.tenant_id),
        tokens.job_parts(job),
        tokens.customer_key(job.contact),
    )


def _action_record(shop: Shop, one: StockedJob, action: ActionState) -> tuple[Any, ...]:
    return (
        to_uuid(action.id),
        to_uuid(action.job_id),
        to_uuid(one.job.merchant_id),
        action.position,
        action.sku,
        action.description,
        action.quantity,
        action.barcode,
        action.status,
        one.created_at,
        tokens.action_tokens(action, shop.tenant_id, one.job.merchant_id),
        tokens.action_parts(action),
    )


@cache
def _name(number: int) -> str:
    rng = random.Random(number)
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 3, 3, 4)))).capitalize()


def _uuid7(instant: datetime, rng: random.Random) -> uuid.UUID:
    milliseconds = int(instant.timestamp() * 1000)
    tail = rng.getrandbits(74)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | (tail >> 62) << 64 | 0b10 << 62 | tail & (1 << 62) - 1)


def _progress(text: str) -> None:
    sys.stderr.write(f"\r{text}\x1b[K")
    sys.stderr.flush()
