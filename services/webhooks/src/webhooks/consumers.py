"""What webhooks does with other services' facts: it hands them on to whoever subscribed.

Nothing here knows what a job is: a fact is its type, its tenant, its locations, and bytes that are passed on as they came.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import known_uuid, to_uuid
from webhooks.attempts import Leased
from webhooks.fan_out import Fact, Room, spread
from webhooks.targets import Targets

HANDED_OVER = "webhooks_leased"
"""Key under which a transaction's session carries the leases that its commit will make real."""


class _Addressed(BaseModel):
    """The part of an event's data that decides who hears of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    location_ids: list[str]
    livemode: bool


def read(headers: Mapping[str, str], value: bytes) -> Fact | None:
    """One record; None for a fact that belongs to no tenant. Raises `KeyError` or `ValueError` when unreadable."""
    tenant_id = headers.get("ce_tenantid")
    if tenant_id is None:
        return None
    addressed = _Addressed.model_validate_json(value)
    occurred_at = datetime.fromisoformat(headers["ce_time"]).astimezone(UTC)
    return Fact(
        id=to_uuid(headers["ce_id"]),
        event_id=headers["ce_id"],
        tenant_id=known_uuid(tenant_id),
        livemode=addressed.livemode,
        type=headers["ce_type"],
        location_ids=tuple(map(known_uuid, addressed.location_ids)),
        occurred_at=occurred_at,
        body=_body(headers["ce_type"], occurred_at, value),
        traceparent=headers.get("traceparent"),
    )


def on_events(
    *, targets: Targets, room: Room, lease_seconds: float
) -> Callable[[AsyncSession, list[Fact]], Awaitable[None]]:
    """The handler that fans facts out. What this process takes on waits in the session for the commit."""

    async def handle(session: AsyncSession, facts: list[Fact]) -> None:
        session.info[HANDED_OVER] = await spread(
            session, facts, targets=targets, room=room, lease_seconds=lease_seconds
        )

    return handle


def handing_over(accept: Callable[[list[Leased]], None]) -> Callable[[AsyncSession], None]:
    """A hook for after the commit: gives the leases that it made real to the dispatcher."""

    def hand_over(session: AsyncSession) -> None:
        leased: list[Leased] | None = session.info.pop(HANDED_OVER, None)
        if leased:
            accept(leased)

    return hand_over


def _body(event_type: str, occurred_at: datetime, data: bytes) -> bytes:
    """The body of every attempt, byte for byte: it is what is signed."""
    timestamp = occurred_at.isoformat().replace("+00:00", "Z")
    return b'{"type":%s,"timestamp":"%s","data":%s}' % (json.dumps(event_type).encode(), timestamp.encode(), data)
