"""Endpoints: created, updated, enabled, disabled and deleted by administrators, and disabled automatically when their receivers fail.

Invariants: an endpoint's secret and headers are encrypted in the database; it names only locations of its own tenant; each change
raises its version and is published.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared import audit
from shared.access import projection
from shared.api import IfMatch
from shared.audit import Actor
from shared.crypto.encryptor import Encryptor
from shared.errors import Conflict, Violation
from shared.events.webhooks import (
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointEvent,
    EndpointState,
    EndpointUpdated,
    EndpointWarned,
)
from shared.ids import new_id, to_uuid
from shared.messaging import outbox
from shared.postgres.advisory_locks import KeyedAdvisoryLock, lock_keys
from webhooks import http_client, signatures
from webhooks.endpoints import queries, secrets
from webhooks.endpoints.queries import get_row, lock_for_update, view
from webhooks.endpoints.rules import require_valid
from webhooks.endpoints.schemas import Endpoint, EndpointIn, EndpointPatch, EndpointSecret
from webhooks.endpoints.schemas import EndpointCreated as EndpointWithSecret
from webhooks.endpoints.secrets import EndpointPolicy, encrypt_headers, headers_of_row
from webhooks.endpoints.tables import EndpointRow


def bump_version(row: EndpointRow, now: datetime) -> None:
    """Raise the version of the row."""
    row.version += 1
    row.updated_at = now


def publish(session: AsyncSession, event_type: type[EndpointEvent], row: EndpointRow) -> None:
    """Publish the endpoint as it is now."""
    outbox.publish(
        session,
        event_type(
            type=event_type.type_name(),
            tenant_id=row.tenant_id,
            subject=row.id,
            sequence=row.version,
            data=_state(row),
        ),
    )


def _state(row: EndpointRow) -> EndpointState:
    return EndpointState(
        endpoint_id=row.id,
        tenant_id=row.tenant_id,
        url=row.url,
        event_types=row.event_types,
        location_ids=row.location_ids,
        enabled=row.enabled,
        reason=row.disabled_reason,
    )


async def reveal_secret(
    session: AsyncSession, encryptor: Encryptor, actor: Actor, endpoint_id: str, now: datetime
) -> EndpointSecret:
    """The endpoint's secret. The audit trail says who read it. Raises `NotFound`."""
    row = await queries.get_row(session, actor.caller, endpoint_id)
    assert row.secret_sealed is not None
    key = encryptor.decrypt(row.secret_sealed, associated_data=row.id)
    audit.record(session, actor, "endpoint.secret_revealed", row.id)
    return _view_secret(row, key, now)


async def rotate_secret(
    session: AsyncSession,
    encryptor: Encryptor,
    actor: Actor,
    endpoint_id: str,
    if_match: IfMatch,
    *,
    overlap_seconds: int,
    now: datetime,
) -> EndpointSecret:
    """A new secret; requests are signed with the former one, too, for `overlap_seconds`. Raises `NotFound`, `PreconditionFailed`."""
    row = await lock_for_update(session, actor.caller, endpoint_id, if_match)
    key = signatures.new_secret()
    row.previous_secret_sealed = row.secret_sealed if overlap_seconds else None
    row.previous_secret_until = now + timedelta(seconds=overlap_seconds) if overlap_seconds else None
    row.secret_sealed = encryptor.encrypt(key, associated_data=row.id)
    bump_version(row, now)
    audit.record(session, actor, "endpoint.secret_rotated", row.id)
    publish(session, EndpointUpdated, row)
    return _view_secret(row, key, now)


async def end_secret_overlap(
    session: AsyncSession, policy: EndpointPolicy, actor: Actor, endpoint_id: str, if_match: IfMatch, now: datetime
) -> Endpoint:
    """The endpoint, which signs with its present secret alone. Nothing changes if it does so already.

    Raises `NotFound`, `PreconditionFailed`.
    """
    row = await lock_for_update(session, actor.caller, endpoint_id, if_match)
    if row.previous_secret_until is not None:
        row.previous_secret_sealed = row.previous_secret_until = None
        bump_version(row, now)
        audit.record(session, actor, "endpoint.secret_overlap_ended", row.id)
        publish(session, EndpointUpdated, row)
    return view(policy.encryptor, row, actor.caller)


def _view_secret(row: EndpointRow, key: bytes, now: datetime) -> EndpointSecret:
    until = row.previous_secret_until
    overlapping = until if until is not None and until > now else None
    return EndpointSecret(endpoint_id=row.id, secret=signatures.format_secret(key), previous_secret_until=overlapping)


PLAN_FEATURE = "webhook_endpoints"
"""The feature of a plan that says how many endpoints a tenant may have. Those that it has keep working when the plan changes."""
REQUESTED = "requested"
GONE = "gone"
FAILING = "failing"
"""Reasons for which an endpoint is disabled: by an administrator; its receiver responded 410; it has failed for too long."""


async def create(
    session: AsyncSession, policy: EndpointPolicy, actor: Actor, wanted: EndpointIn, now: datetime
) -> EndpointWithSecret:
    """Create an endpoint; return it with its secret. Raises `Invalid` with all violations, `Conflict` at the tenant's limit."""
    violations = [
        *http_client.url_violations(wanted.url, allow_http=policy.allow_http, allowed=policy.allowed_networks),
        *http_client.header_violations(wanted.headers),
        *await _unknown_locations(session, actor.tenant_id, wanted.location_ids),
    ]
    require_valid(violations, "endpoint")
    await _require_room(session, policy, actor)
    endpoint_id = new_id("ep")
    key = signatures.new_secret()
    row = EndpointRow(
        id=endpoint_id,
        tenant_id=actor.tenant_id,
        livemode=actor.livemode,
        url=wanted.url,
        description=wanted.description,
        event_types=_distinct(wanted.event_types),
        location_ids=None if wanted.location_ids is None else _distinct(wanted.location_ids),
        headers_sealed=encrypt_headers(policy.encryptor, endpoint_id, wanted.headers),
        secret_sealed=policy.encryptor.encrypt(key, associated_data=endpoint_id),
        signing_key_sealed=secrets.new_signing_key(policy.encryptor, endpoint_id) if wanted.sign_v1a else None,
        retry_schedule_seconds=wanted.retry_schedule_seconds,
        rate_limit_per_second=wanted.rate_limit_per_second,
        ordered_by_job=wanted.ordered_by_job,
        enabled=wanted.enabled,
        disabled_reason=None if wanted.enabled else REQUESTED,
        disabled_at=None if wanted.enabled else now,
        created_by=actor.id,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    shown = view(policy.encryptor, row, actor.caller)
    audit.record(session, actor, "endpoint.created", row.id, after=shown)
    publish(session, EndpointCreated, row)
    return EndpointWithSecret(**shown.model_dump(), secret=signatures.format_secret(key))


async def update(
    session: AsyncSession,
    policy: EndpointPolicy,
    actor: Actor,
    endpoint_id: str,
    if_match: IfMatch,
    wanted: EndpointPatch,
    now: datetime,
) -> Endpoint:
    """The changed endpoint; nothing is written when nothing differs. Raises `NotFound`, `PreconditionFailed`, `Invalid`."""
    row = await lock_for_update(session, actor.caller, endpoint_id, if_match)
    return await _update(session, policy, actor, row, wanted, now)


async def enable(
    session: AsyncSession, policy: EndpointPolicy, actor: Actor, endpoint_id: str, now: datetime
) -> tuple[Endpoint, datetime | None]:
    """The endpoint, enabled, and since when it was disabled (None: it was enabled). Raises `NotFound`."""
    row = await lock_for_update(session, actor.caller, endpoint_id)
    disabled_since = None if row.enabled else row.disabled_at or row.updated_at
    return await _update(session, policy, actor, row, EndpointPatch(enabled=True), now), disabled_since


async def _update(
    session: AsyncSession,
    policy: EndpointPolicy,
    actor: Actor,
    row: EndpointRow,
    wanted: EndpointPatch,
    now: datetime,
) -> Endpoint:
    before, shown_before = _changeable_values(row), view(policy.encryptor, row, actor.caller)
    headers = headers_of_row(policy.encryptor, row)
    violations: list[Violation] = []
    if "url" in wanted.model_fields_set:
        violations += http_client.url_violations(
            wanted.url, allow_http=policy.allow_http, allowed=policy.allowed_networks
        )
        row.url = wanted.url
    if "description" in wanted.model_fields_set:
        row.description = wanted.description or ""
    if "event_types" in wanted.model_fields_set:
        row.event_types = _distinct(wanted.event_types)
    if "location_ids" in wanted.model_fields_set:
        violations += await _unknown_locations(session, row.tenant_id, wanted.location_ids)
        row.location_ids = None if wanted.location_ids is None else _distinct(wanted.location_ids)
    if "headers" in wanted.model_fields_set:
        merged = {} if wanted.headers is None else _merge_headers(headers, wanted.headers)
        violations += http_client.header_violations(merged)
        if merged != headers:
            row.headers_sealed = encrypt_headers(policy.encryptor, row.id, merged)
    require_valid(violations, "endpoint")
    _update_sending(policy.encryptor, row, wanted)
    if "enabled" in wanted.model_fields_set:
        _switch(row, now, reason=None if wanted.enabled else REQUESTED)
    if _changeable_values(row) == before:
        return shown_before
    bump_version(row, now)
    shown = view(policy.encryptor, row, actor.caller)
    action = "endpoint.updated"
    if shown.enabled != shown_before.enabled:
        action = "endpoint.enabled" if shown.enabled else "endpoint.disabled"
    audit.record(session, actor, action, row.id, before=shown_before, after=shown)
    publish(session, EndpointDisabled if action == "endpoint.disabled" else EndpointUpdated, row)
    return shown


async def disable(
    session: AsyncSession, policy: EndpointPolicy, actor: Actor, endpoint_id: str, now: datetime
) -> Endpoint:
    """Disable an endpoint. Raises `NotFound`."""
    row = await lock_for_update(session, actor.caller, endpoint_id)
    return await _update(session, policy, actor, row, EndpointPatch(enabled=False), now)


async def delete(session: AsyncSession, actor: Actor, endpoint_id: str, if_match: IfMatch, now: datetime) -> None:
    """Delete an endpoint; nothing changes when it is deleted already. Raises `NotFound`, `PreconditionFailed`."""
    row = await get_row(session, actor.caller, endpoint_id, for_update=True, deleted_too=True)
    if row.deleted_at is not None:
        return
    if_match.check(row.version)
    audit.record(session, actor, "endpoint.deleted", row.id, before=_state(row))
    row.deleted_at = now
    _switch(row, now, reason=REQUESTED)
    row.secret_sealed = row.previous_secret_sealed = row.previous_secret_until = row.signing_key_sealed = None
    row.headers_sealed = None
    bump_version(row, now)
    publish(session, EndpointDeleted, row)


async def disable_automatically(session: AsyncSession, endpoint_ids: Sequence[str], reason: str, now: datetime) -> None:
    """Disable endpoints for a reason of their receivers (`GONE`, `FAILING`); those that are disabled already keep their reason."""
    for row in await _lock_enabled(session, endpoint_ids):
        row.enabled = False
        row.disabled_reason = reason
        bump_version(row, now)
        audit.record_service(
            session,
            "endpoint.disabled",
            row.id,
            tenant_id=row.tenant_id,
            before={"enabled": True, "disabled_reason": None},
            after={"enabled": False, "disabled_reason": reason},
        )
        publish(session, EndpointDisabled, row)


async def warn(session: AsyncSession, endpoint_ids: Sequence[str], now: datetime) -> None:
    """Publish that endpoints will be disabled if they go on failing, once for each failure streak."""
    for row in await _lock_enabled(session, endpoint_ids):
        if row.warned_at is None:
            row.warned_at = now
            bump_version(row, now)
            publish(session, EndpointWarned, row)


async def _lock_enabled(session: AsyncSession, endpoint_ids: Sequence[str]) -> Sequence[EndpointRow]:
    statement = (
        select(EndpointRow)
        .where(col(EndpointRow.id).in_(endpoint_ids), col(EndpointRow.enabled).is_(True))
        .order_by(col(EndpointRow.id))
        .with_for_update()
    )
    return (await session.execute(statement)).scalars().all()


async def _unknown_locations(
    session: AsyncSession, tenant_id: str, location_ids: Sequence[str] | None
) -> list[Violation]:
    """A violation for each location that is not the tenant's, or not yet known to be."""
    if not location_ids:
        return []
    table = projection.LOCATIONS
    statement = select(table.c.location_id).where(
        table.c.tenant_id == to_uuid(tenant_id), table.c.location_id.in_({to_uuid(one) for one in location_ids})
    )
    known = set((await session.execute(statement)).scalars())
    return [
        Violation(f"/location_ids/{index}", "location_unknown", "you have no location with this id")
        for index, location_id in enumerate(location_ids)
        if to_uuid(location_id) not in known
    ]


async def _require_room(session: AsyncSession, policy: EndpointPolicy, actor: Actor) -> None:
    await lock_keys(session, KeyedAdvisoryLock.WEBHOOKS_ENDPOINT_LIMIT, [actor.tenant_id])
    statement = select(func.count()).where(
        col(EndpointRow.tenant_id) == actor.tenant_id,
        col(EndpointRow.deleted_at).is_(None),
    )
    count = (await session.execute(statement)).scalar_one()
    included = actor.caller.principal.limit(PLAN_FEATURE)
    if included is not None and count >= included:
        raise Conflict(
            f"the plan {actor.caller.principal.plan} includes {included} webhook endpoints",
            code="plan_limit_reached",
            maximum=included,
        )
    if count >= policy.endpoints_max:
        raise Conflict(f"a tenant may have {policy.endpoints_max} webhook endpoints", code="endpoint_limit_reached")


def _merge_headers(headers: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """Names are case-insensitive; the latest spelling is kept."""
    changed = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in changed}
    return {**kept, **{name: value for name, value in changes.items() if value is not None}}


def _distinct(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _update_sending(encryptor: Encryptor, row: EndpointRow, wanted: EndpointPatch) -> None:
    """Update how requests are sent: schedule, rate, order, signature."""
    if "retry_schedule_seconds" in wanted.model_fields_set:
        row.retry_schedule_seconds = wanted.retry_schedule_seconds
    if "rate_limit_per_second" in wanted.model_fields_set:
        row.rate_limit_per_second = wanted.rate_limit_per_second
    if "ordered_by_job" in wanted.model_fields_set:
        row.ordered_by_job = wanted.ordered_by_job
    if "sign_v1a" in wanted.model_fields_set and wanted.sign_v1a != (row.signing_key_sealed is not None):
        row.signing_key_sealed = secrets.new_signing_key(encryptor, row.id) if wanted.sign_v1a else None


def _switch(row: EndpointRow, now: datetime, *, reason: str | None) -> None:
    """Enable the row (`reason` None), without its failure streak; or disable it. A disabled row keeps its first reason and instant."""
    if reason is None and not row.enabled:
        row.failing_since = None
        row.failures_since = 0
        row.warned_at = None
        row.next_probe_at = None
    row.disabled_reason = None if reason is None else row.disabled_reason or reason
    row.disabled_at = None if reason is None else row.disabled_at or now
    row.enabled = reason is None


def _changeable_values(row: EndpointRow) -> tuple[object, ...]:
    """All values that an update may change."""
    locations = None if row.location_ids is None else tuple(row.location_ids)
    schedule = None if row.retry_schedule_seconds is None else tuple(row.retry_schedule_seconds)
    sending = (schedule, row.rate_limit_per_second, row.ordered_by_job, row.signing_key_sealed, row.headers_sealed)
    return (row.url, row.description, tuple(row.event_types), locations, sending, row.enabled)
