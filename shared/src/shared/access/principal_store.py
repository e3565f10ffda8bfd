"""Loads principals from the access projection, each with one query."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.credentials import Peppers
from shared.access.entitlement import NO_OFFSET
from shared.access.principals import Caller, Principal
from shared.ids import from_uuid, to_uuid
from shared.postgres.driver_connection import driver_of

_COLUMNS = """
SELECT c.credential_id, c.kind AS credential_kind, c.active AS credential_active, c.scopes, c.expires_at, c.livemode, c.digests,
    s.subject_id, s.kind AS subject_kind, s.active AS subject_active, s.permissions, s.level, s.api_access, s.location_ids,
    s.default_location_id, s.sessions_valid_from,
    coalesce(c.tenant_id, s.tenant_id, t.tenant_id) AS tenant_id, t.name AS tenant_name, t.status AS tenant_status,
    t.livemode AS tenant_livemode,
    e.status AS subscription_status, e.trial_ends_at, e.access_until, e.plan, e.features, e.clock_offset
"""
_ENTITLEMENT = " LEFT JOIN access_entitlements e ON e.tenant_id = t.tenant_id "
_OF_ACCOUNTS = (
    _COLUMNS
    + """FROM access_credentials c JOIN access_subjects s ON s.subject_id = c.subject_id
    LEFT JOIN access_tenants t ON t.tenant_id = c.tenant_id"""
    + _ENTITLEMENT
    + "WHERE c.kind = 'pair' AND c.credential_id = ANY"
)
_BY_ACCOUNT = text(f"{_OF_ACCOUNTS}(CAST(:names AS text[]))")
_BY_ACCOUNT_FOR_DRIVER = f"{_OF_ACCOUNTS}($1::text[])"
_BY_KEY = text(
    _COLUMNS  # noqa: S608 - constants only, values are bound
    + """FROM access_credentials c LEFT JOIN access_subjects s ON s.subject_id = c.subject_id
    LEFT JOIN access_tenants t ON t.tenant_id = coalesce(c.tenant_id, CAST(:tenant_id AS uuid),
        (SELECT n.tenant_id FROM access_tenants n WHERE lower(n.name) = lower(CAST(:tenant_name AS text))
         ORDER BY n.version DESC LIMIT 1))"""
    + _ENTITLEMENT
    + "WHERE c.digest_values && CAST(:digests AS text[]) AND c.kind <> 'pair'"
)
_BY_SUBJECT = text(
    _COLUMNS
    + """FROM access_subjects s LEFT JOIN access_credentials c ON false
    LEFT JOIN access_tenants t ON t.tenant_id = s.tenant_id"""
    + _ENTITLEMENT
    + "WHERE s.subject_id = :subject_id"
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Names a principal. With a platform key a request may name a tenant, too."""

    by: Literal["account", "key", "subject"]
    name: str
    tenant_id: str | None = None
    tenant_name: str | None = None
    other_digests: tuple[str, ...] = ()
    """Under which the same key may be stored."""


def lookup_of(caller: Caller) -> Lookup:
    """The lookup that finds this caller's principal again."""
    principal = caller.principal
    if caller.via == "pair":
        return Lookup("account", principal.credential_id or "")
    if caller.via in ("user_key", "platform_key"):
        digest, *others = caller.key_digests or (principal.digests[0][0],)
        return Lookup("key", digest, principal.tenant_id, other_digests=tuple(others))
    return Lookup("subject", principal.subject_id or "")


async def load_principal(
    session: AsyncSession, lookup: Lookup, peppers: Peppers, key: str | None = None
) -> Principal | None:
    """The principal as this session sees it; None when there is none."""
    match lookup.by:
        case "account":
            result = await session.execute(_BY_ACCOUNT, {"names": [lookup.name]})
        case "key":
            tenant_id = to_uuid(lookup.tenant_id) if lookup.tenant_id else None
            digests = peppers.digests(key) if key else [lookup.name, *lookup.other_digests]
            parameters = {"digests": digests, "tenant_id": tenant_id, "tenant_name": lookup.tenant_name}
            result = await session.execute(_BY_KEY, parameters)
        case "subject":
            result = await session.execute(_BY_SUBJECT, {"subject_id": to_uuid(lookup.name)})
    row = result.mappings().first()
    return None if row is None else _to_principal(row)


async def load_principals(
    session: AsyncSession, lookups: Collection[Lookup], peppers: Peppers
) -> dict[Lookup, Principal | None]:
    """The principals of several lookups. One query serves all API Account IDs: group commits ask for many."""
    found: dict[Lookup, Principal | None] = dict.fromkeys(lookups)
    accounts = {lookup.name: lookup for lookup in lookups if lookup.by == "account"}
    if accounts:
        # Every write asks for it.
        rows = await (await driver_of(session)).fetch(_BY_ACCOUNT_FOR_DRIVER, list(accounts))
        found.update((accounts[row["credential_id"]], _to_principal(row)) for row in rows)
    for lookup in lookups:
        if lookup.by != "account":
            found[lookup] = await load_principal(session, lookup, peppers)
    return found


def _to_principal(row: Mapping[str, Any] | RowMapping) -> Principal:
    digests: list[Mapping[str, Any]] = row["digests"] or []
    kind = row["subject_kind"]
    return Principal(
        credential_id=row["credential_id"],
        credential_kind=row["credential_kind"],
        credential_active=bool(row["credential_active"]),
        scopes=tuple(row["scopes"] or ()),
        expires_at=row["expires_at"],
        livemode=bool(row["livemode"]),
        digests=tuple(
            (
                d["digest"],
                d["pepper_version"],
                datetime.fromisoformat(d["valid_until"]) if d.get("valid_until") else None,
            )
            for d in digests
        ),
        subject_id=None
        if row["subject_id"] is None
        else from_uuid("mer" if kind == "merchant" else "usr", row["subject_id"]),
        subject_kind=kind,
        subject_active=row["subject_active"] is not False,
        granted=tuple(row["permissions"] or ()),
        level=row["level"],
        api_access=bool(row["api_access"]),
        location_ids=tuple(from_uuid("loc", value) for value in row["location_ids"] or ()),
        default_location_id=None
        if row["default_location_id"] is None
        else from_uuid("loc", row["default_location_id"]),
        sessions_valid_from=row["sessions_valid_from"],
        tenant_id=None if row["tenant_id"] is None else from_uuid("ten", row["tenant_id"]),
        tenant_name=row["tenant_name"],
        tenant_status=row["tenant_status"],
        tenant_livemode=row["tenant_livemode"],
        subscription_status=row["subscription_status"],
        trial_ends_at=row["trial_ends_at"],
        access_until=row["access_until"],
        plan=row["plan"],
        features=row["features"] or {},
        clock_offset=row["clock_offset"] or NO_OFFSET,
    )
