"""Advisory locks: all locks of the services by name, and the statements that take them.

A service has its own database, so locks of different services never meet; each has its own number all the same, so that `pg_locks` names
it. PostgreSQL has two key spaces that never collide: one number of 64 bits (`AdvisoryLock`), and two of 32 bits (`KeyedAdvisoryLock`: the
number of the lock, and a hash of the key). Idempotency keys are locked in the first space by 64 bits of their hash, without a number here.

Unless its text says otherwise, a lock ends with the transaction that took it.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum, unique

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession


@unique
class AdvisoryLock(IntEnum):
    """Locks of one thing in a database."""

    MIGRATIONS = 7_229_001
    """`migrate` of every service holds it until its connection ends: replicas that start together migrate one after the other."""
    WEBHOOKS_PARTITIONS = 7_229_004
    """The partition maintenance of webhooks tries it: one replica at a time makes and drops partitions."""
    WEBHOOKS_ENDPOINT_CHANGES = 7_229_005
    """Each change of an endpoint takes it shared (a trigger of webhooks' migration 0003); the endpoint cache tests whether it is free."""
    IDENTITY_SIGNING_KEYS = 7_229_101
    """Held while identity creates or rotates signing keys: there is one first key, and rotations run one after the other."""
    IDENTITY_TENANT_NAMES = 7_229_102
    """Held while identity sets the name of a tenant: no two tenants get the same name."""
    JOBS_RETENTION = 7_229_301
    """Each step of retention in jobs tries it: one replica at a time drops partitions and purges."""


@unique
class KeyedAdvisoryLock(IntEnum):
    """Locks of one thing per key. Two keys with the same hash share a lock."""

    BULK_LIMIT = 7_229_007
    """By tenant id. Held while a bulk command is created, because the number of running ones per tenant is limited."""
    WEBHOOKS_ENDPOINT_LIMIT = 7_229_002
    """By tenant id. Held while an endpoint is created, because their number per tenant is limited."""
    WEBHOOKS_JOB_ORDER = 7_229_003
    """By endpoint id. Held while deliveries are added to, or removed from, the chains of an endpoint that is ordered by job."""
    WEBHOOKS_REPLAY_LIMIT = 7_229_006
    """By tenant id. Held while a replay is created, because the number of running replays per tenant is limited."""
    JOBS_IMPORT_LIMIT = 7_229_302
    """By tenant id. Held while an import is created or queued, because the number of both per tenant is limited."""


_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LOCK_CONNECTION = text("SELECT pg_advisory_lock(:lock)")
# In one order, so that two transactions with several keys in common wait for each other instead of deadlocking.
_LOCK_KEYS = text(
    """
    SELECT pg_advisory_xact_lock(:lock, key) FROM (
        SELECT DISTINCT hashtext(name) AS key FROM unnest(CAST(:keys AS text[])) AS name ORDER BY key
    ) AS keys
    """
)
_TRY_LOCK_HASHES = text(
    """
    SELECT pg_try_advisory_xact_lock(asked.hash) FROM unnest(CAST(:hashes AS bigint[])) WITH ORDINALITY AS asked (hash, place)
    ORDER BY asked.place
    """
)


async def lock(session: AsyncSession, name: AdvisoryLock) -> None:
    """Wait for this lock and hold it until the transaction ends."""
    await session.execute(_LOCK, {"lock": name.value})


async def try_lock(session: AsyncSession, name: AdvisoryLock) -> bool:
    """Take this lock until the transaction ends; False when another transaction holds it."""
    return bool((await session.execute(_TRY_LOCK, {"lock": name.value})).scalar_one())


async def lock_keys(session: AsyncSession, name: KeyedAdvisoryLock, keys: Iterable[object]) -> None:
    """Wait for the locks of all these keys and hold them until the transaction ends."""
    await session.execute(_LOCK_KEYS, {"lock": name.value, "keys": list(map(str, keys))})


async def try_lock_hashes(session: AsyncSession, hashes: Sequence[int]) -> Sequence[bool]:
    """Take the locks of these numbers (64 bits of a hash each) until the transaction ends; returns for each whether it was free.

    A transaction may take a lock of its own again.
    """
    return (await session.execute(_TRY_LOCK_HASHES, {"hashes": list(hashes)})).scalars().all()


def lock_connection(connection: Connection, name: AdvisoryLock) -> None:
    """Wait for this lock and hold it until the connection ends."""
    connection.execute(_LOCK_CONNECTION, {"lock": name.value})


def is_free(name: AdvisoryLock) -> str:
    """An SQL expression: whether nobody holds this lock at the moment, shared or not."""
    return f"CASE WHEN pg_try_advisory_lock({name.value}) THEN pg_advisory_unlock({name.value}) ELSE false END"
