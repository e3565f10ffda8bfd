"""From an event to its deliveries: one for each endpoint that it concerns, in the transaction that takes the event.

Invariant: an event is stored, matched and queued at once or not at all, and only the first time that it is seen.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import inbox
from shared.ids import new_id, to_uuid
from webhooks.attempts import Leased, Message, new_token
from webhooks.domain.matching import Subscription, wants
from webhooks.targets import Target, Targets

CONSUMER = "webhooks.fan-out"

Room = Callable[[UUID], int]
"""How many more deliveries of an endpoint this process can take on at once."""

_SUBSCRIPTIONS = text(
    """
    SELECT id, version, tenant_id, livemode, event_types, location_ids FROM endpoints
    WHERE tenant_id = ANY(CAST(:tenant_ids AS uuid[])) AND enabled AND deleted_at IS NULL
    """
)
# What is not leased by this process is due now, and found by whichever worker looks first.
_STORE = text(
    """
    WITH stored AS (
        INSERT INTO events (id, tenant_id, livemode, type, location_ids, occurred_at, body, traceparent)
        SELECT id, tenant_id, livemode, type, location_ids::uuid[], occurred_at, body, traceparent FROM unnest(
            CAST(:event_ids AS uuid[]), CAST(:event_tenant_ids AS uuid[]), CAST(:event_livemodes AS boolean[]),
            CAST(:types AS text[]), CAST(:location_ids AS text[]), CAST(:occurred_ats AS timestamptz[]),
            CAST(:bodies AS bytea[]), CAST(:traceparents AS text[])
        ) AS event (id, tenant_id, livemode, type, location_ids, occurred_at, body, traceparent)
        ON CONFLICT DO NOTHING
    ),
    planned AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:of_event_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]), CAST(:tenant_ids AS uuid[]),
            CAST(:livemodes AS boolean[]), CAST(:of_types AS text[]), CAST(:tokens AS bigint[])
        ) AS delivery (id, event_id, endpoint_id, tenant_id, livemode, event_type, token)
    ),
    made AS (
        INSERT INTO deliveries (id, event_id, endpoint_id, tenant_id, livemode, event_type)
        SELECT id, event_id, endpoint_id, tenant_id, livemode, event_type FROM planned
        ON CONFLICT DO NOTHING RETURNING id
    )
    INSERT INTO delivery_due (delivery_id, endpoint_id, due_at, lease_token, retry)
    SELECT id, endpoint_id,
        now() + CASE WHEN token IS NULL THEN interval '0' ELSE make_interval(secs => :lease_seconds) END, token, false
    FROM planned JOIN made USING (id)
    RETURNING delivery_id
    """
)


@dataclass(frozen=True, slots=True)
class Fact:
    """An event of another service, read as far as matching needs it; `body` is what receivers get."""

    id: UUID
    event_id: str
    """The same id as publisher and receivers spell it."""
    tenant_id: UUID
    livemode: bool
    type: str
    location_ids: tuple[UUID, ...]
    occurred_at: datetime
    body: bytes
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class _Planned:
    id: UUID
    fact: Fact
    target: Target | None
    endpoint_id: UUID


async def spread(
    session: AsyncSession, facts: Sequence[Fact], *, targets: Targets, room: Room, lease_seconds: float
) -> list[Leased]:
    """Store new facts with their deliveries; those that this process has taken on already, to be attempted after the commit."""
    fresh = await inbox.claim(session, CONSUMER, [fact.event_id for fact in facts])
    # A batch may hold a record twice; the first of them stands for both.
    new = list({fact.event_id: fact for fact in reversed(facts) if fact.event_id in fresh}.values())[::-1]
    if not new:
        return []
    planned = await _plan(session, new, targets, room)
    held_until = time.monotonic() + lease_seconds
    token = new_token()
    stored = await session.execute(
        _STORE, {**_events(new), **_deliveries(planned, token), "lease_seconds": lease_seconds}
    )
    made = set(stored.scalars())
    return [
        Leased(one.id, one.target, _message(one.fact), 0, token, held_until)
        for one in planned
        if one.target is not None and one.id in made
    ]


async def _plan(session: AsyncSession, facts: Sequence[Fact], targets: Targets, room: Room) -> list[_Planned]:
    """The deliveries of these facts; those for which there is room come with the target of their attempt."""
    subscriptions = await _subscriptions(session, {fact.tenant_id for fact in facts})
    matches = [
        (fact, subscription)
        for fact in facts
        for subscription in subscriptions.get(fact.tenant_id, ())
        if wants(
            subscription,
            tenant_id=fact.tenant_id,
            livemode=fact.livemode,
            event_type=fact.type,
            location_ids=fact.location_ids,
        )
    ]
    places = Counter({endpoint_id: room(endpoint_id) for endpoint_id in {one.endpoint_id for _, one in matches}})
    versions = {one.endpoint_id: one.version for _, one in matches if places[one.endpoint_id] > 0}
    found = await targets.of(session, versions)
    planned = []
    for fact, subscription in matches:
        endpoint_id = subscription.endpoint_id
        target = found.get(endpoint_id) if places[endpoint_id] > 0 else None
        places[endpoint_id] -= 1
        planned.append(_Planned(to_uuid(new_id("dlv")), fact, target, endpoint_id))
    return planned


async def _subscriptions(session: AsyncSession, tenant_ids: set[UUID]) -> dict[UUID, list[Subscription]]:
    subscriptions: dict[UUID, list[Subscription]] = {}
    for row in await session.execute(_SUBSCRIPTIONS, {"tenant_ids": list(tenant_ids)}):
        locations = None if row.location_ids is None else frozenset(row.location_ids)
        subscription = Subscription(row.id, row.version, row.tenant_id, row.livemode, tuple(row.event_types), locations)
        subscriptions.setdefault(row.tenant_id, []).append(subscription)
    return subscriptions


def _events(facts: Sequence[Fact]) -> dict[str, object]:
    return {
        "event_ids": [fact.id for fact in facts],
        "event_tenant_ids": [fact.tenant_id for fact in facts],
        "event_livemodes": [fact.livemode for fact in facts],
        "types": [fact.type for fact in facts],
        "location_ids": ["{" + ",".join(map(str, fact.location_ids)) + "}" for fact in facts],
        "occurred_ats": [fact.occurred_at for fact in facts],
        "bodies": [fact.body for fact in facts],
        "traceparents": [fact.traceparent for fact in facts],
    }


def _deliveries(planned: Sequence[_Planned], token: int) -> dict[str, object]:
    return {
        "ids": [one.id for one in planned],
        "of_event_ids": [one.fact.id for one in planned],
        "endpoint_ids": [one.endpoint_id for one in planned],
        "tenant_ids": [one.fact.tenant_id for one in planned],
        "livemodes": [one.fact.livemode for one in planned],
        "of_types": [one.fact.type for one in planned],
        "tokens": [token if one.target is not None else None for one in planned],
    }


def _message(fact: Fact) -> Message:
    return Message(fact.event_id, fact.body, fact.traceparent, fact.occurred_at)
