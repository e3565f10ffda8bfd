"""Endpoints: made, changed, switched and deleted by administrators, and disabled by a receiver that says it is gone.

Invariants: an endpoint's secret and headers are in the database under seal alone; it names only locations of its own tenant; each change
raises its version and is published.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared import outbox
from shared.auth import projections
from shared.auth.decisions import Caller
from shared.auth.seal import KeyRing
from shared.errors import Conflict, Invalid, NotFound, Violation
from shared.events.webhooks import (
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointState,
    EndpointUpdated,
)
from shared.http import Page, Paging, page
from shared.ids import new_id, to_uuid
from webhooks.domain import endpoints as rules
from webhooks.domain import signatures
from webhooks.domain.addresses import Network
from webhooks.models import AuditRow, Endpoint, EndpointIn, EndpointPatch, EndpointRow, EndpointSecret
from webhooks.models import EndpointCreated as EndpointWithSecret

WRITE = "settings.webhooks.write"
HIDDEN = "[hidden]"
REQUESTED = "requested"
GONE = "gone"

# Serialises the creations of one tenant, so that its limit holds; the first number tells these locks from others'.
_CREATION_LOCK = 7_229_002


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows, and the keys under which secrets are sealed."""

    ring: KeyRing
    allow_http: bool
    allowed_networks: tuple[Network, ...]
    endpoints_max: int


async def create(
    session: AsyncSession, policy: Policy, caller: Caller, wanted: EndpointIn, now: datetime
) -> EndpointWithSecret:
    """A new endpoint with its secret. Raises `Invalid` with all that is wrong, `Conflict` beyond the tenant's limit."""
    violations = [
        *rules.url_violations(wanted.url, allow_http=policy.allow_http, allowed=policy.allowed_networks),
        *rules.header_violations(wanted.headers),
        *await _unknown_locations(session, caller.tenant_id, wanted.location_ids),
    ]
    _require(violations)
    await _require_room(session, policy, caller.tenant_id)
    endpoint_id = new_id("ep")
    key = signatures.new_secret()
    row = EndpointRow(
        id=endpoint_id,
        tenant_id=caller.tenant_id,
        livemode=caller.livemode,
        url=wanted.url,
        description=wanted.description,
        event_types=_distinct(wanted.event_types),
        location_ids=None if wanted.location_ids is None else _distinct(wanted.location_ids),
        headers_sealed=_sealed_headers(policy.ring, endpoint_id, wanted.headers),
        secret_sealed=policy.ring.seal(key, bound_to=endpoint_id),
        enabled=wanted.enabled,
        disabled_reason=None if wanted.enabled else REQUESTED,
        created_by=caller.actor,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    _audit(session, caller, "endpoint.created", row, now)
    _publish(session, EndpointCreated, row)
    shown = _view(policy.ring, row, caller)
    return EndpointWithSecret(**shown.model_dump(), secret=signatures.shown(key))


async def listed(session: AsyncSession, policy: Policy, caller: Caller, paging: Paging) -> Page[Endpoint]:
    """The caller's endpoints, newest first."""
    statement: Select[Any] = select(EndpointRow).where(
        col(EndpointRow.tenant_id) == caller.tenant_id,
        col(EndpointRow.livemode) == caller.livemode,
        col(EndpointRow.deleted_at).is_(None),
    )
    return await page(
        session,
        statement,
        paging,
        by=(col(EndpointRow.id),),
        view=lambda row: _view(policy.ring, row, caller),
        filters={"livemode": caller.livemode},
    )


async def get(session: AsyncSession, policy: Policy, caller: Caller, endpoint_id: str) -> Endpoint:
    """One endpoint. Raises `NotFound`."""
    return _view(policy.ring, await _find(session, caller, endpoint_id), caller)


async def reveal_secret(
    session: AsyncSession, policy: Policy, caller: Caller, endpoint_id: str, now: datetime
) -> EndpointSecret:
    """The endpoint's secret; that it was looked at stays on record. Raises `NotFound`."""
    row = await _find(session, caller, endpoint_id)
    assert row.secret_sealed is not None
    key = policy.ring.open(row.secret_sealed, bound_to=row.id)
    _audit(session, caller, "endpoint.secret_revealed", row, now)
    return EndpointSecret(endpoint_id=row.id, secret=signatures.shown(key))


async def change(
    session: AsyncSession, policy: Policy, caller: Caller, row: EndpointRow, wanted: EndpointPatch, now: datetime
) -> Endpoint:
    """The changed endpoint (`row` comes from `lock`); nothing happens when nothing differs. Raises `Invalid`."""
    before = _visible(row)
    headers = _headers(policy.ring, row)
    violations: list[Violation] = []
    if "url" in wanted.model_fields_set:
        violations += rules.url_violations(wanted.url, allow_http=policy.allow_http, allowed=policy.allowed_networks)
        row.url = wanted.url
    if "description" in wanted.model_fields_set:
        row.description = wanted.description
    if "event_types" in wanted.model_fields_set:
        row.event_types = _distinct(wanted.event_types)
    if "location_ids" in wanted.model_fields_set:
        violations += await _unknown_locations(session, row.tenant_id, wanted.location_ids)
        row.location_ids = None if wanted.location_ids is None else _distinct(wanted.location_ids)
    if wanted.headers:
        merged = _merged(headers, wanted.headers)
        violations += rules.header_violations(merged)
        if merged != headers:
            row.headers_sealed = _sealed_headers(policy.ring, row.id, merged)
    _require(violations)
    if "enabled" in wanted.model_fields_set:
        row.enabled = wanted.enabled
        row.disabled_reason = None if wanted.enabled else row.disabled_reason or REQUESTED
    if _visible(row) != before:
        switched_off = before[-1] and not row.enabled
        _touch(row, now)
        _audit(session, caller, "endpoint.updated", row, now)
        _publish(session, EndpointDisabled if switched_off else EndpointUpdated, row)
    return _view(policy.ring, row, caller)


async def switch(
    session: AsyncSession, policy: Policy, caller: Caller, endpoint_id: str, *, enabled: bool, now: datetime
) -> Endpoint:
    """The endpoint, enabled or disabled. Raises `NotFound`."""
    row = await lock(session, caller, endpoint_id)
    return await change(session, policy, caller, row, EndpointPatch(enabled=enabled), now)


async def delete(session: AsyncSession, caller: Caller, row: EndpointRow, now: datetime) -> None:
    """Make an endpoint (`row` comes from `lock`) its own tombstone; deleting twice changes nothing more."""
    if row.deleted_at is not None:
        return
    row.deleted_at = now
    row.enabled = False
    row.secret_sealed = None
    row.headers_sealed = None
    _touch(row, now)
    _audit(session, caller, "endpoint.deleted", row, now)
    _publish(session, EndpointDeleted, row)


async def disable_gone(session: AsyncSession, endpoint_ids: Sequence[str], now: datetime) -> None:
    """Disable endpoints whose receivers answered 410; those that are disabled already stay as they are."""
    statement = (
        select(EndpointRow)
        .where(col(EndpointRow.id).in_(endpoint_ids), col(EndpointRow.enabled).is_(True))
        .order_by(col(EndpointRow.id))
        .with_for_update()
    )
    for row in (await session.execute(statement)).scalars():
        row.enabled = False
        row.disabled_reason = GONE
        _touch(row, now)
        _publish(session, EndpointDisabled, row)


async def lock(session: AsyncSession, caller: Caller, endpoint_id: str, *, deleted_too: bool = False) -> EndpointRow:
    """The row, held until the transaction ends; with `deleted_too` also a tombstone. Raises `NotFound`."""
    return await _find(session, caller, endpoint_id, for_update=True, deleted_too=deleted_too)


def open_headers(ring: KeyRing, endpoint_id: str, sealed: bytes | None) -> dict[str, str]:
    """Custom headers as they are sent. Raises `SealBroken`."""
    if sealed is None:
        return {}
    headers: dict[str, str] = json.loads(ring.open(sealed, bound_to=f"{endpoint_id}/headers"))
    return headers


async def _find(
    session: AsyncSession, caller: Caller, endpoint_id: str, *, for_update: bool = False, deleted_too: bool = False
) -> EndpointRow:
    statement = select(EndpointRow).where(
        col(EndpointRow.id) == endpoint_id,
        col(EndpointRow.tenant_id) == caller.tenant_id,
        col(EndpointRow.livemode) == caller.livemode,
    )
    if not deleted_too:
        statement = statement.where(col(EndpointRow.deleted_at).is_(None))
    if for_update:
        statement = statement.with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no webhook endpoint with this id", code="endpoint_not_found")
    return row


async def _unknown_locations(
    session: AsyncSession, tenant_id: str, location_ids: Sequence[str] | None
) -> list[Violation]:
    """A violation for each location that is not (or not yet known to be) the tenant's."""
    if not location_ids:
        return []
    table = projections.LOCATIONS
    statement = select(table.c.location_id).where(
        table.c.tenant_id == to_uuid(tenant_id), table.c.location_id.in_({to_uuid(one) for one in location_ids})
    )
    known = set((await session.execute(statement)).scalars())
    return [
        Violation(f"/location_ids/{index}", "location_unknown", "no location of yours that is known here has this id")
        for index, location_id in enumerate(location_ids)
        if to_uuid(location_id) not in known
    ]


async def _require_room(session: AsyncSession, policy: Policy, tenant_id: str) -> None:
    await session.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK, func.hashtext(tenant_id))))
    statement = select(func.count()).where(
        col(EndpointRow.tenant_id) == tenant_id,
        col(EndpointRow.deleted_at).is_(None),
    )
    if (await session.execute(statement)).scalar_one() >= policy.endpoints_max:
        raise Conflict(f"a tenant may have {policy.endpoints_max} webhook endpoints", code="endpoint_limit_reached")


def _require(violations: Sequence[Violation]) -> None:
    if violations:
        raise Invalid("the endpoint is not acceptable: see errors", *violations)


def _merged(headers: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """Names are the same in upper and lower case; the latest spelling stays."""
    changed = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in changed}
    return {**kept, **{name: value for name, value in changes.items() if value is not None}}


def _distinct(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _sealed_headers(ring: KeyRing, endpoint_id: str, headers: dict[str, str]) -> bytes | None:
    return ring.seal(json.dumps(headers).encode(), bound_to=f"{endpoint_id}/headers") if headers else None


def _headers(ring: KeyRing, row: EndpointRow) -> dict[str, str]:
    return open_headers(ring, row.id, row.headers_sealed)


def _visible(row: EndpointRow) -> tuple[object, ...]:
    """Everything that a change can change; `enabled` last."""
    locations = None if row.location_ids is None else tuple(row.location_ids)
    return (row.url, row.description, tuple(row.event_types), locations, row.headers_sealed, row.enabled)


def _touch(row: EndpointRow, now: datetime) -> None:
    row.version += 1
    row.updated_at = now


def _audit(session: AsyncSession, caller: Caller, action: str, row: EndpointRow, now: datetime) -> None:
    session.add(AuditRow(tenant_id=row.tenant_id, actor=caller.actor, action=action, subject=row.id, at=now))


def _publish(session: AsyncSession, event_type: type[EndpointEvent], row: EndpointRow) -> None:
    state = EndpointState(
        endpoint_id=row.id,
        tenant_id=row.tenant_id,
        url=row.url,
        event_types=row.event_types,
        location_ids=row.location_ids,
        enabled=row.enabled,
        reason=row.disabled_reason,
    )
    outbox.publish(
        session,
        event_type(
            type=event_type.type_name(), tenant_id=row.tenant_id, subject=row.id, sequence=row.version, data=state
        ),
    )


def _view(ring: KeyRing, row: EndpointRow, caller: Caller) -> Endpoint:
    headers = _headers(ring, row)
    all_locations: Literal["*"] = "*"
    return Endpoint(
        id=row.id,
        livemode=row.livemode,
        url=row.url,
        description=row.description,
        event_types=row.event_types,
        location_ids=all_locations if row.location_ids is None else row.location_ids,
        headers=headers if caller.may(WRITE) else dict.fromkeys(headers, HIDDEN),
        enabled=row.enabled,
        disabled_reason=row.disabled_reason,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
