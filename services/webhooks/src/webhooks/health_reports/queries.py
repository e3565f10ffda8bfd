"""The health of all endpoints and locations of a tenant: the last 24 hours, and now.

Figures are counted from the rows of deliveries. What one request reads is bounded: with more deliveries than that the figures cover a part
of them, and say so.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access import projection
from shared.access.principals import Caller
from shared.api import Page
from shared.ids import first_id_at, from_uuid, to_uuid
from webhooks.endpoints import DisablePolicy, EndpointRow, get_row, stats, visible_to
from webhooks.health_reports.rules import disables_at, health_state
from webhooks.health_reports.schemas import (
    EndpointHealth,
    HealthFigures,
    LocationHealth,
    WebhookHealth,
    WebhookLocation,
)

HOURS = 24
HOUR = timedelta(hours=1)
COUNTED_MAX = 50_000
"""Deliveries that are counted for all endpoints together, divided among their hours."""
COUNTED_OF_LOCATIONS_MAX = 10_000
"""The newest deliveries, which are counted for the locations of their events."""
_WAITING = stats.waiting_statement(1_000)

_FIGURES = """
    count(*) AS deliveries, count(*) FILTER (WHERE status = 'delivered') AS delivered, count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status <> 'delivered' AND cause IS NOT NULL) AS unsuccessful,
    percentile_disc(CAST('{0.5, 0.95}' AS float8[])) WITHIN GROUP (ORDER BY latency_ms) AS latencies_ms
"""
# Without ORDER BY: with it, all rows of an hour would be read and sorted before the limit applies.
_OF_ENDPOINTS = text(
    f"""
    WITH counted AS MATERIALIZED (
        SELECT asked.id AS of_id, hour.number AS hour, d.status, d.cause, d.latency_ms
        FROM unnest(CAST(:endpoint_ids AS uuid[])) AS asked (id)
        CROSS JOIN unnest(CAST(:numbers AS int[]), CAST(:firsts AS uuid[]), CAST(:lasts AS uuid[])) AS hour (number, first, last)
        CROSS JOIN LATERAL (
            SELECT status, cause, latency_ms FROM deliveries
            WHERE endpoint_id = asked.id AND event_id >= hour.first AND event_id < hour.last LIMIT :rows_max
        ) d
    )
    SELECT of_id, hour, {_FIGURES} FROM counted GROUP BY GROUPING SETS ((of_id, hour), (of_id))
    """  # noqa: S608 - our own text
)
# The limit is part of the text: with a parameter PostgreSQL would keep a generic plan that reads and sorts everything.
_OF_LOCATIONS = text(
    f"""
    WITH looked_at AS MATERIALIZED (
        SELECT event_id, status, cause, latency_ms FROM deliveries
        WHERE tenant_id = :tenant_id AND livemode = :livemode AND event_id >= :first
        ORDER BY event_id DESC LIMIT {COUNTED_OF_LOCATIONS_MAX}
    ),
    counted AS MATERIALIZED (
        SELECT place.id AS of_id, CAST(floor(extract(epoch FROM e.occurred_at - :since) / 3600) AS int) AS hour,
            d.status, d.cause, d.latency_ms
        FROM looked_at d
        CROSS JOIN LATERAL (
            SELECT occurred_at, location_ids FROM events WHERE id = d.event_id AND id >= :first LIMIT 1
        ) e
        CROSS JOIN LATERAL unnest(e.location_ids) AS place (id)
    )
    SELECT of_id, hour, {_FIGURES}, (SELECT count(*) FROM looked_at) AS examined
    FROM counted GROUP BY GROUPING SETS ((of_id, hour), (of_id))
    """  # noqa: S608 - our own text
)


async def get_health(
    session: AsyncSession, caller: Caller, disable_policy: DisablePolicy, now: datetime
) -> WebhookHealth:
    """The health of the caller's endpoints, newest first, and of its tenant's locations, by name."""
    since = _since(now)
    statement = select(EndpointRow).where(visible_to(caller, EndpointRow), col(EndpointRow.deleted_at).is_(None))
    rows = (await session.execute(statement.order_by(col(EndpointRow.id).desc()))).scalars().all()
    return WebhookHealth(
        since=since,
        until=since + HOURS * HOUR,
        endpoints=await _of_endpoints(session, rows, disable_policy, since),
        locations=await _of_locations(session, caller, rows, since),
    )


async def get_endpoint_health(
    session: AsyncSession, caller: Caller, endpoint_id: str, disable_policy: DisablePolicy, now: datetime
) -> EndpointHealth:
    """The health of one endpoint. Raises `NotFound`."""
    row = await get_row(session, caller, endpoint_id)
    return (await _of_endpoints(session, [row], disable_policy, _since(now)))[0]


async def list_locations(session: AsyncSession, caller: Caller) -> Page[WebhookLocation]:
    """All locations of the caller's tenant, by name."""
    listed = [
        WebhookLocation(location_id=from_uuid("loc", row.location_id), name=row.name, active=row.active)
        for row in await _locations(session, caller)
    ]
    return Page(data=listed, has_more=False, next_cursor=None)


def _since(now: datetime) -> datetime:
    """The beginning of the hours that are counted; the last of them is the present one."""
    return now.replace(minute=0, second=0, microsecond=0) + HOUR - HOURS * HOUR


async def _locations(session: AsyncSession, caller: Caller) -> Sequence[Row[Any]]:
    table = projection.LOCATIONS
    of_tenant = select(table).where(table.c.tenant_id == to_uuid(caller.tenant_id))
    return (await session.execute(of_tenant.order_by(table.c.name, table.c.location_id))).all()


async def _of_endpoints(
    session: AsyncSession, rows: Iterable[EndpointRow], disable_policy: DisablePolicy, since: datetime
) -> list[EndpointHealth]:
    ids = [to_uuid(row.id) for row in rows]
    if not ids:
        return []
    rows_max = max(1, COUNTED_MAX // (len(ids) * HOURS))
    values = {
        "endpoint_ids": ids,
        "numbers": list(range(HOURS)),
        "firsts": [first_id_at(since + number * HOUR) for number in range(HOURS)],
        "lasts": [first_id_at(since + (number + 1) * HOUR) for number in range(HOURS)],
        "rows_max": rows_max,
    }
    counted = _by_id((await session.execute(_OF_ENDPOINTS, values)).all(), "ep")
    waiting = {
        from_uuid("ep", one.endpoint_id): one for one in (await session.execute(_WAITING, {"endpoint_ids": ids})).all()
    }
    shown = []
    for row in rows:
        figures = _figures(counted.get(row.id, []), hour_rows_max=rows_max)
        shown.append(
            EndpointHealth(
                endpoint_id=row.id,
                state=health_state(enabled=row.enabled, failing_since=row.failing_since, deliveries=figures.deliveries),
                failing_since=row.failing_since,
                failures=row.failures_since,
                next_probe_at=row.next_probe_at if row.failing_since is not None else None,
                disables_at=disables_at(disable_policy, enabled=row.enabled, failing_since=row.failing_since),
                waiting=waiting[row.id].waiting,
                oldest_due_seconds=max(0.0, float(waiting[row.id].oldest_seconds)),
                **figures.model_dump(),
            )
        )
    return shown


async def _of_locations(
    session: AsyncSession, caller: Caller, rows: Iterable[EndpointRow], since: datetime
) -> list[LocationHealth]:
    locations = await _locations(session, caller)
    values = {
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "first": first_id_at(since),
        "since": since,
    }
    found = (await session.execute(_OF_LOCATIONS, values)).all()
    counted = _by_id(found, "loc")
    is_partial = any(one.examined == COUNTED_OF_LOCATIONS_MAX for one in found)
    enabled = [row for row in rows if row.enabled]
    return [
        LocationHealth(
            location_id=location_id,
            name=row.name,
            active=row.active,
            endpoint_ids=[one.id for one in enabled if one.location_ids is None or location_id in one.location_ids],
            **_figures(counted.get(location_id, []), is_partial=is_partial).model_dump(),
        )
        for row in locations
        for location_id in [from_uuid("loc", row.location_id)]
    ]


def _by_id(rows: Iterable[Row[Any]], prefix: str) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(from_uuid(prefix, row.of_id), []).append(row)
    return found


def _figures(rows: Iterable[Row[Any]], *, hour_rows_max: int | None = None, is_partial: bool = False) -> HealthFigures:
    """The figures of the row of all hours (`hour` None), with those of each hour."""
    figures = HealthFigures(
        deliveries=0,
        delivered=0,
        failed=0,
        success_rate=None,
        latency_ms_p50=None,
        latency_ms_p95=None,
        deliveries_by_hour=[0] * HOURS,
        unsuccessful_by_hour=[0] * HOURS,
        latency_ms_p95_by_hour=[None] * HOURS,
        is_partial=is_partial,
    )
    for row in rows:
        if row.hour is None:
            known = row.delivered + row.unsuccessful
            figures.deliveries, figures.delivered, figures.failed = row.deliveries, row.delivered, row.failed
            figures.success_rate = row.delivered / known if known else None
            figures.latency_ms_p50, figures.latency_ms_p95 = row.latencies_ms or (None, None)
        elif 0 <= row.hour < HOURS:
            figures.deliveries_by_hour[row.hour] = row.deliveries
            figures.unsuccessful_by_hour[row.hour] = row.unsuccessful
            figures.latency_ms_p95_by_hour[row.hour] = row.latencies_ms[1] if row.latencies_ms else None
            figures.is_partial |= row.deliveries == hour_rows_max
    return figures
