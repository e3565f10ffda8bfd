"""The access projection: tables in each service's own database that access events keep up to date.

An event may come twice or out of order: an upsert takes effect only with a higher version of the aggregate. No row is ever deleted; a
credential or subject that has ended keeps its row, which says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    Interval,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Event, billing, identity
from shared.ids import to_uuid
from shared.postgres.tables import NAMING_CONVENTION

ACCESS_EVENTS = (*identity.ACCESS_EVENTS, *billing.ACCESS_EVENTS)
"""The events that every service applies; nothing else that identity and billing publish touches the projection."""

CHANNEL = "waybill_access"
NOTIFIED_TENANTS_MAX = 150
"""Tenants that one notification names; for more it says `*`, because it can carry 8,000 bytes."""
REVOCATIONS = "revocations:"
"""What a notification of revocations begins with. It comes after that of their tenants."""
NOTIFIED_REVOCATIONS_MAX = 100
REPORTED_FOR = timedelta(days=1)
"""For so long receipts are kept: of older revocations, as in a projection that is made anew, nobody is notified."""

_tables = MetaData(naming_convention=NAMING_CONVENTION)


def _instant(name: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


TENANTS = Table(
    "access_tenants",
    _tables,
    Column("tenant_id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Index("ix_access_tenants_name", text("lower(name)")),
)
ENTITLEMENTS = Table(
    "access_entitlements",
    _tables,
    Column("tenant_id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    _instant("trial_ends_at"),
    _instant("access_until"),
    Column("plan", Text),
    Column("features", JSONB, nullable=False, server_default=text("'{}'")),
    Column("clock_offset", Interval, nullable=False, server_default=text("'0'")),
)
SUBJECTS = Table(
    "access_subjects",
    _tables,
    Column("subject_id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("tenant_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("level", Integer),
    Column("api_access", Boolean, nullable=False),
    Column("location_ids", ARRAY(Uuid), nullable=False),
    Column("default_location_id", Uuid),
    _instant("sessions_valid_from", nullable=False),
)
CREDENTIALS = Table(
    "access_credentials",
    _tables,
    Column("credential_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Uuid),
    Column("subject_id", Uuid),
    Column("active", Boolean, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _instant("expires_at"),
    Column("digests", JSONB, nullable=False),
    Column("digest_values", ARRAY(Text), nullable=False),
    Index("ix_access_credentials_digest_values", "digest_values", postgresql_using="gin"),
)
LOCATIONS = Table(
    "access_locations",
    _tables,
    Column("location_id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("tenant_id", Uuid, nullable=False, index=True),
    Column("active", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False),
)
SIGNING_KEYS = Table(
    "access_signing_keys",
    _tables,
    Column("key_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("public_key", Text, nullable=False),
    _instant("retires_at"),
    Column("proof", Text),
)
TABLES = tuple(_tables.sorted_tables)


def add_tables(metadata: MetaData) -> None:
    """Add the projection's tables to a service's metadata."""
    for table in TABLES:
        table.to_metadata(metadata)


async def apply(session: AsyncSession, events: Sequence[Event]) -> None:
    """Apply these events, in any order and any number of times, and notify every replica which tenants have changed."""
    rows: dict[Table, list[dict[str, Any]]] = defaultdict(list)
    revoked: list[identity.SubjectSessions] = []
    for event in events:
        match event.data:
            case identity.TenantState() as tenant:
                rows[TENANTS].append(_tenant(tenant, event.sequence))
            case identity.LocationState() as location:
                rows[LOCATIONS].append(_location(location, event.sequence))
            case identity.UserState() as user:
                rows[SUBJECTS].append(_user(user, event.sequence))
            case identity.OwnershipState() as ownership:
                rows[TENANTS].append(_tenant(ownership.tenant, event.sequence))
                rows[SUBJECTS].append(_user(ownership.owner, ownership.owner_version))
                rows[SUBJECTS].append(_user(ownership.former_owner, ownership.former_owner_version))
            case identity.MerchantState() as merchant:
                rows[SUBJECTS].append(_merchant(merchant, event.sequence))
                if merchant.pair is not None:
                    rows[CREDENTIALS].append(_api_credentials(merchant, merchant.pair, event.sequence))
            case identity.CredentialState() as credential:
                rows[CREDENTIALS].append(_credential(credential, event.sequence))
            case identity.SigningKeyState() as key:
                rows[SIGNING_KEYS].append(_signing_key(key, event.sequence))
            case billing.SubscriptionState() as subscription:
                rows[ENTITLEMENTS].append(_entitlement(subscription, event.sequence))
            case identity.SubjectSessions() as sessions:
                revoked.append(sessions)
    for table in TABLES:
        if rows[table]:
            await _upsert(session, table, rows[table])
    for sessions in sorted(revoked, key=lambda one: one.subject_id):
        await session.execute(
            SUBJECTS.update()
            .where(SUBJECTS.c.subject_id == to_uuid(sessions.subject_id))
            .values(sessions_valid_from=func.greatest(SUBJECTS.c.sessions_valid_from, sessions.sessions_valid_from))
        )
    await _notify(session, events)


async def _upsert(session: AsyncSession, table: Table, rows: list[dict[str, Any]]) -> None:
    key = next(iter(table.primary_key.columns)).name
    newest: dict[Any, dict[str, Any]] = {}
    for row in rows:
        known = newest.get(row[key])
        if known is None or row["version"] >= known["version"]:
            newest[row[key]] = row
    # All writers take rows in one order, so that two batches cannot deadlock.
    statement = insert(table).values([newest[value] for value in sorted(newest, key=str)])
    changes: dict[str, Any] = {
        column.name: statement.excluded[column.name] for column in table.columns if column.name != key
    }
    if "sessions_valid_from" in changes:
        # A state that was read before a log-out must not undo it: the log-out is an event of its own.
        changes["sessions_valid_from"] = func.greatest(table.c.sessions_valid_from, changes["sessions_valid_from"])
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[key], set_=changes, where=statement.excluded.version > table.c.version
        )
    )


async def _notify(session: AsyncSession, events: Sequence[Event]) -> None:
    tenants = sorted({event.tenant_id for event in events if event.tenant_id})
    everything = len(tenants) > NOTIFIED_TENANTS_MAX or any(event.tenant_id is None for event in events)
    payload = "*" if everything else ",".join(tenants)
    await session.execute(select(func.pg_notify(literal(CHANNEL), literal(payload))))
    since = datetime.now(UTC) - REPORTED_FOR
    ended = [f"{event.revocation_id}/{event.id}" for event in events if event.revocation_id and event.time > since]
    for start in range(0, len(ended), NOTIFIED_REVOCATIONS_MAX):
        payload = REVOCATIONS + ",".join(ended[start : start + NOTIFIED_REVOCATIONS_MAX])
        await session.execute(select(func.pg_notify(literal(CHANNEL), literal(payload))))


def read_revocations(payload: str) -> list[tuple[str, str]]:
    """The (revocation, event) ids of a notification; none in one of tenants."""
    if not payload.startswith(REVOCATIONS):
        return []
    return [(one.partition("/")[0], one.partition("/")[2]) for one in payload.removeprefix(REVOCATIONS).split(",")]


def _tenant(state: identity.TenantState, version: int) -> dict[str, Any]:
    return {
        "tenant_id": to_uuid(state.tenant_id),
        "version": version,
        "name": state.name,
        "status": state.status,
        "livemode": not state.test,
    }


def _location(state: identity.LocationState, version: int) -> dict[str, Any]:
    return {
        "location_id": to_uuid(state.location_id),
        "version": version,
        "tenant_id": to_uuid(state.tenant_id),
        "active": state.active,
        "is_default": state.is_default,
        "name": state.name,
        "timezone": state.timezone,
    }


def _user(state: identity.UserState, version: int) -> dict[str, Any]:
    return {
        "subject_id": to_uuid(state.user_id),
        "version": version,
        "tenant_id": to_uuid(state.tenant_id),
        "kind": state.kind,
        "active": state.status == "active",
        "permissions": state.permissions,
        "level": None,
        "api_access": False,
        "location_ids": [],
        "default_location_id": None,
        "sessions_valid_from": state.sessions_valid_from,
    }


def _merchant(state: identity.MerchantState, version: int) -> dict[str, Any]:
    return {
        "subject_id": to_uuid(state.merchant_id),
        "version": version,
        "tenant_id": to_uuid(state.tenant_id),
        "kind": "merchant",
        "active": state.status == "active",
        "permissions": [],
        "level": state.level,
        "api_access": state.api_access,
        "location_ids": [to_uuid(location) for location in state.location_ids],
        "default_location_id": to_uuid(state.default_location_id) if state.default_location_id else None,
        "sessions_valid_from": state.sessions_valid_from,
    }


def _digests(digests: list[identity.DigestState]) -> dict[str, Any]:
    return {
        "digests": [digest.model_dump(mode="json") for digest in digests],
        "digest_values": [digest.digest for digest in digests],
    }


def _api_credentials(
    merchant: identity.MerchantState, api_credentials: identity.PairState, version: int
) -> dict[str, Any]:
    return {
        "credential_id": api_credentials.account_id,
        "version": version,
        "kind": "pair",
        "tenant_id": to_uuid(merchant.tenant_id),
        "subject_id": to_uuid(merchant.merchant_id),
        "active": merchant.api_access,
        "livemode": api_credentials.livemode,
        "scopes": [],
        "expires_at": None,
        **_digests(api_credentials.digests),
    }


def _credential(state: identity.CredentialState, version: int) -> dict[str, Any]:
    return {
        "credential_id": state.credential_id,
        "version": version,
        "kind": state.kind,
        "tenant_id": to_uuid(state.tenant_id) if state.tenant_id else None,
        "subject_id": to_uuid(state.user_id) if state.user_id else None,
        "active": state.active,
        "livemode": state.livemode,
        "scopes": state.scopes,
        "expires_at": state.expires_at,
        **_digests(state.digests),
    }


def _signing_key(state: identity.SigningKeyState, version: int) -> dict[str, Any]:
    return {
        "key_id": state.key_id,
        "version": version,
        "public_key": state.public_key,
        "retires_at": state.retires_at,
        "proof": state.proof,
    }


def _entitlement(state: billing.SubscriptionState, version: int) -> dict[str, Any]:
    return {
        "tenant_id": to_uuid(state.tenant_id),
        "version": version,
        "status": state.status,
        "trial_ends_at": state.trial_ends_at,
        "access_until": state.access_until,
        "plan": state.plan,
        "features": state.features,
        "clock_offset": timedelta(seconds=state.clock_offset_seconds),
    }
