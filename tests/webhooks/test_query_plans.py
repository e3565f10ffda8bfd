"""Lists of many events and deliveries read a bounded number of rows by an index, whatever their filters.

EXPLAIN gets the statements and values that the service sends.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import event, text

from shared.api import Paging
from shared.ids import new_id, to_uuid
from tests.harness.stack import BackingStack
from tests.harness.webhooks import DeliveryHarness, typed
from webhooks.deliveries import Match, Span, queries
from webhooks.deliveries.schemas import DeliveryFilters
from webhooks.endpoints import DisablePolicy, stats
from webhooks.events import feed
from webhooks.events.worker import partition_maintenance
from webhooks.health_reports import queries as health
from webhooks.match_previews import queries as preview
from webhooks.match_previews.schemas import MatchPreviewIn
from webhooks.replays import operations
from webhooks.replays.worker import EXAMINED_MAX

DAYS = 12
EVENTS = 36_000
READ_MAX = 2 * 5_000 + 1_500
"""Rows that a page may read: the examined deliveries, their events if the filter needs them, a page, and one row of each partition."""
SORTED_MAX = 5_000
OFTEN, SELDOM = UUID(int=0xA1), UUID(int=0xA2)
"""Locations."""
MIDDLE = timedelta(days=7)
STEPS_MAX = 80
"""Of a replay: enough to examine every delivery."""
PAGES_MAX = 16
"""Enough for every condition that matches rarely, whose pages pass over up to 5,000 rows each, and for more than one day of the others."""

# Newest first. The tenant has nine of ten events. Every 12,000th has a rare type and a rare location.
_EVENTS = """
    INSERT INTO events (id, tenant_id, position, occurred_at, livemode, type, subject, reference, location_ids, body)
    SELECT (lpad(to_hex(ms), 12, '0') || substr(md5(n::text), 13))::uuid, CASE WHEN n % 10 = 0 THEN CAST(:other AS uuid) ELSE :tenant END,
        1000000 - n, to_timestamp(ms / 1000.0), true, CASE WHEN n % 12000 = 77 THEN 'job.damaged' ELSE 'job.created' END,
        CASE WHEN n % 6 = 1 THEN 'job_many' ELSE 'job_' || n / 40 END,
        CASE WHEN n % 6 = 1 THEN 'R-many' WHEN n % 6 > 1 THEN 'R-' || n / 40 END,
        ARRAY[CASE WHEN n % 12000 = 77 THEN CAST(:seldom AS uuid) ELSE :often END], CAST(:body AS bytea)
    FROM (SELECT n, CAST(:newest AS bigint) - n * CAST(:every AS bigint) AS ms FROM generate_series(1, :events) AS n) AS numbered
"""
_DELIVERIES = """
    INSERT INTO deliveries (
        event_id, endpoint_id, tenant_id, started_at, finished_at, latency_ms, attempts_made, livemode, status, event_type, cause, failure,
        response_status
    )
    SELECT id, CASE WHEN tenant_id = :tenant THEN CAST(:endpoint AS uuid) ELSE :other END, tenant_id, occurred_at,
        CASE WHEN n % 3000 <> 13 THEN occurred_at END, n % 1000, 1, true,
        CASE WHEN n % 3000 = 13 THEN 'pending' WHEN n % 3000 = 3 THEN 'failed' ELSE 'delivered' END, type,
        CASE n % 3000 WHEN 3 THEN 'status' WHEN 13 THEN 'timeout' END, CASE WHEN n % 3000 = 3 THEN 'exhausted' END,
        CASE n % 3000 WHEN 3 THEN 503 WHEN 13 THEN NULL ELSE 200 END
    FROM (SELECT *, 1000000 - position AS n FROM events) AS numbered
"""
_WAITING = """
    INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry)
    SELECT gen_random_uuid(), CAST(:endpoint AS uuid), now() - make_interval(secs => n), n % 2 = 0 FROM generate_series(1, 30000) AS n
"""
_REPLAYS = """
    INSERT INTO replays (
        id, tenant_id, livemode, endpoint_id, kind, since, until, dry_run, rate_per_second, status, after_position, after_event_id,
        examined, matched, queued, progress, created_by, version, created_at, updated_at, finished_at
    )
    SELECT gen_random_uuid(), :tenant, true, CASE WHEN n = 9 THEN CAST(:endpoint AS uuid) ELSE :other END, 'filter',
        now() - interval '1 day', now(), true, 1, CASE WHEN n = 9 THEN 'cancelled' ELSE 'completed' END, 0, :tenant,
        0, 0, 0, 1, '', 1, now(), now(), now()
    FROM generate_series(1, 20000) AS n
"""


@dataclass
class Store:
    """A tenant with many events and deliveries, a few of which have a rare type and location."""

    harness: DeliveryHarness
    endpoint_id: str
    event_id: str
    now: datetime


@pytest.fixture(scope="module")
async def store(backing: BackingStack) -> AsyncIterator[Store]:
    harness = await DeliveryHarness.on_new_database(backing)
    # Always at the same hour: early in a day PostgreSQL may read the whole small partition.
    now = datetime.now(UTC).replace(hour=20, minute=0) - timedelta(days=1)
    maintenance = partition_maintenance(harness.database)
    for back in range(DAYS, 0, -3):
        assert await maintenance.run_once(now - timedelta(days=back), kept=30)
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    values = {
        "tenant": to_uuid(harness.tenant_id),
        "other": to_uuid(new_id("ten")),
        "endpoint": to_uuid(endpoint_id),
        "often": OFTEN,
        "seldom": SELDOM,
        "body": b'{"type":"job.created","timestamp":"2026-01-01T00:00:00Z","data":{}}',
        "newest": int(now.timestamp() * 1000),
        "every": DAYS * 86_400_000 // EVENTS,
        "events": EVENTS,
    }
    async with harness.database.transaction() as session:
        for statement in (_EVENTS, _DELIVERIES, _WAITING, _REPLAYS):
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            await session.execute(text(statement), named)
    async with harness.database.engine.connect() as connection:
        vacuuming = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await vacuuming.exec_driver_sql("VACUUM ANALYZE events, deliveries, delivery_due, replays")
    (some,) = await harness.rows("SELECT id FROM events WHERE position = 1000000 - 99")
    yield Store(harness, endpoint_id, typed("evt", some.id), now)
    await harness.database.close()


@contextmanager
def statements(harness: DeliveryHarness) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The statements that are sent to the database meanwhile, with their values."""
    asked: list[tuple[str, tuple[Any, ...]]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, tuple(parameters)))

    engines = [harness.database.engine.sync_engine, harness.database.search_engine.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


async def cost(harness: DeliveryHarness, asked: list[tuple[str, tuple[Any, ...]]]) -> tuple[int, set[str]]:
    """How many rows were read and how. No sort may have more rows than are examined."""
    read, ways = 0, set()
    connection = await asyncpg.connect(harness.database.url, server_settings={"jit": "off"})
    try:
        for statement, values in asked:
            (row,) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
            waiting = [json.loads(row[0])[0]["Plan"]]
            while waiting:
                node = waiting.pop()
                waiting += node.get("Plans", [])
                passed = int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
                if "Relation Name" in node:
                    read += passed
                    ways |= {node["Node Type"]} if passed else set()
                if node["Node Type"] in ("Sort", "Incremental Sort"):
                    assert passed <= SORTED_MAX, statement
    finally:
        await connection.close()
    return read, ways


async def costs_little(
    harness: DeliveryHarness, asked: list[tuple[str, tuple[Any, ...]]], *, read_max: int = READ_MAX
) -> None:
    assert asked
    read, ways = await cost(harness, asked)
    assert read <= read_max
    assert not {way for way in ways if "Seq Scan" in way}, ways


async def listed(store: Store, cursor: str | None = None, *, limit: int = 50, **asked: Any) -> Any:
    paging = Paging(limit=limit, cursor=cursor, scope="deliveries", secret=b"secret")
    async with store.harness.database.searching() as session:
        return await queries.list_deliveries(
            session, store.harness.caller, paging, DeliveryFilters.model_construct(**asked), now=store.now
        )


Asked = Callable[[Store], dict[str, Any]]
CONDITIONS: dict[str, tuple[Asked, int]] = {
    "everything": (lambda _: {}, 50),
    "failed": (lambda _: {"status": "failed"}, 10),
    "pending": (lambda _: {"status": "pending"}, 11),
    "delivered": (lambda _: {"status": "delivered"}, 50),
    "an endpoint": (lambda store: {"endpoint_id": store.endpoint_id}, 50),
    "failed of an endpoint": (lambda store: {"endpoint_id": store.endpoint_id, "status": "failed"}, 10),
    "pending of an endpoint": (lambda store: {"endpoint_id": store.endpoint_id, "status": "pending"}, 11),
    "a type": (lambda _: {"event_type": "job.created"}, 50),
    "a rare type": (lambda _: {"event_type": "job.damaged"}, 1),
    "a type of nothing": (lambda _: {"event_type": "job.none"}, 0),
    "a location": (lambda _: {"location_id": typed("loc", OFTEN)}, 50),
    "a rare location": (lambda _: {"location_id": typed("loc", SELDOM)}, 1),
    "a location of nothing": (lambda _: {"location_id": new_id("loc")}, 0),
    "a job": (lambda _: {"job_id": "job_300"}, 20),
    "a job of many events": (lambda _: {"job_id": "job_many"}, 50),
    "a job of nothing": (lambda _: {"job_id": "job_none"}, 0),
    "a rare type of a job": (lambda _: {"job_id": "job_many", "event_type": "job.damaged"}, 0),
    "failed of a job": (lambda _: {"job_id": "job_many", "status": "failed"}, 0),
    "a job at an endpoint": (lambda store: {"job_id": "job_many", "endpoint_id": store.endpoint_id}, 50),
    "a job before an instant": (lambda store: {"job_id": "job_many", "created_before": store.now - MIDDLE}, 50),
    "a reference": (lambda _: {"job_reference": "R-300"}, 20),
    "a reference of many events": (lambda _: {"job_reference": "R-many"}, 50),
    "a reference of nothing": (lambda _: {"job_reference": "R-none"}, 0),
    "a rare type of a reference": (lambda _: {"job_reference": "R-many", "event_type": "job.damaged"}, 0),
    "a reference of another job": (lambda _: {"job_reference": "R-300", "job_id": "job_many"}, 0),
    "an event": (lambda store: {"event_id": store.event_id}, 1),
    "an event of a job": (lambda store: {"event_id": store.event_id, "job_id": "job_2"}, 1),
    "an event of nothing": (lambda _: {"event_id": new_id("evt")}, 0),
    "a cause": (lambda _: {"cause": "timeout"}, 11),
    "a cause of an endpoint": (lambda store: {"endpoint_id": store.endpoint_id, "cause": "timeout"}, 11),
    "a cause of nothing": (lambda _: {"cause": "dns"}, 0),
    "failed for a cause": (lambda _: {"status": "failed", "cause": "status"}, 10),
    "pending for a cause that made others fail": (lambda _: {"status": "pending", "cause": "status"}, 0),
    "a class of responses": (lambda _: {"response_class": "2xx"}, 50),
    "a rare class of responses": (lambda _: {"response_class": "5xx"}, 1),
    "a status of responses": (lambda _: {"response_status": 200}, 50),
    "a rare status of responses": (lambda _: {"response_status": 503}, 1),
    "a rare type of an endpoint": (lambda store: {"endpoint_id": store.endpoint_id, "event_type": "job.damaged"}, 1),
    "failed at a location": (lambda _: {"status": "failed", "location_id": typed("loc", OFTEN)}, 10),
    "a rare type before an instant": (
        lambda store: {"event_type": "job.damaged", "created_before": store.now - MIDDLE},
        1,
    ),
    "a rare type in a span": (
        lambda store: {
            "event_type": "job.damaged",
            "created_from": store.now - timedelta(days=6),
            "created_before": store.now - timedelta(days=5),
        },
        0,
    ),
}


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_a_page_of_deliveries_reads_a_bounded_number_of_them(store: Store, condition: str) -> None:
    asked, found = CONDITIONS[condition]

    with statements(store.harness) as sent:
        page = await listed(store, **asked(store))

    assert found <= len(page.data) <= 50
    await costs_little(store.harness, sent)


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_pages_together_have_each_matching_delivery_once(store: Store, condition: str) -> None:
    asked = CONDITIONS[condition][0](store)
    expected = await matching(store, asked)
    found, cursor, pages = [], None, 0

    while pages < PAGES_MAX:
        page = await listed(store, cursor, limit=200, **asked)
        found += [one.event_id for one in page.data]
        cursor, pages = page.next_cursor, pages + 1
        if not page.has_more:
            break

    if pages < PAGES_MAX:
        assert found == expected
        assert cursor is None
    else:
        # What matches often is compared page after page, but not to the last of 36,000 rows.
        assert found == expected[: PAGES_MAX * 200]


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_a_replay_reads_what_the_list_shows_oldest_first(store: Store, condition: str) -> None:
    asked = CONDITIONS[condition][0](store)
    filters = DeliveryFilters.model_construct(**asked)
    match = Match.of(store.harness.tenant_id, True, filters, newest_first=False)
    found, position, steps, more = [], None, 0, True

    while more and steps < STEPS_MAX:
        with statements(store.harness) as sent:
            async with store.harness.database.reading() as session:
                span = Span(UUID(int=0) if position is None else to_uuid(position[0]), None)
                rows = (await session.execute(match.examine(span, position, EXAMINED_MAX))).all()
        if steps == 0:
            await costs_little(store.harness, sent)
        found += [row.event_id for row in rows if row.matches]
        if rows:
            position = (rows[-1].event_id, rows[-1].endpoint_id)
        more, steps = bool(rows) and rows[-1].more, steps + 1

    expected = (await matching(store, asked))[::-1]
    assert found == expected[: len(found)]
    assert more or found == expected


async def matching(store: Store, asked: dict[str, Any]) -> list[str]:
    """The events of all matching deliveries, newest first, by a statement of its own."""
    conditions: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "endpoint_id": ("d.endpoint_id = :endpoint_id", to_uuid),
        "event_type": ("d.event_type = :event_type", str),
        "status": ("d.status = :status", str),
        "job_id": ("e.subject = :job_id", str),
        "job_reference": ("e.reference = :job_reference", str),
        "event_id": ("d.event_id = :event_id", to_uuid),
        "cause": ("d.cause = :cause", str),
        "response_class": ("d.response_status / 100 = :response_class", lambda value: int(value[0])),
        "response_status": ("d.response_status = :response_status", int),
        "location_id": ("e.location_ids @> ARRAY[CAST(:location_id AS uuid)]", to_uuid),
        "created_from": ("e.occurred_at >= :created_from", lambda value: value),
        "created_before": ("e.occurred_at < :created_before", lambda value: value),
    }
    where = " AND ".join([conditions[name][0] for name in asked] or ["true"])
    rows = await store.harness.rows(
        "SELECT d.event_id FROM deliveries d JOIN events e ON e.id = d.event_id"
        f" WHERE d.tenant_id = :tenant AND {where} ORDER BY d.event_id DESC",
        tenant=to_uuid(store.harness.tenant_id),
        **{name: conditions[name][1](value) for name, value in asked.items()},
    )
    return [typed("evt", row.event_id) for row in rows]


async def test_a_page_far_down_reads_no_more_than_the_first(store: Store) -> None:
    cursor = None
    for _ in range(4):
        cursor = (await listed(store, cursor, event_type="job.none")).next_cursor

    with statements(store.harness) as sent:
        await listed(store, cursor, event_type="job.none")

    await costs_little(store.harness, sent)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"event_type": "job.damaged"},
        {"event_type": "job.none"},
        {"event_type": "job.*"},
        {"location_id": typed("loc", SELDOM)},
        {"created_from": MIDDLE},
    ],
)
async def test_the_feed_reads_a_bounded_number_of_events(store: Store, asked: dict[str, Any]) -> None:
    wanted = {**dict.fromkeys(("event_type", "location_id", "created_from")), **asked}
    if wanted["created_from"] is not None:
        wanted["created_from"] = store.now - wanted["created_from"]
    cursor, seen = None, 0

    for _ in range(3):
        with statements(store.harness) as sent:
            async with store.harness.database.reading() as session:
                page = await feed.read_feed(
                    session,
                    store.harness.caller,
                    Paging(limit=50, cursor=cursor, scope="feed", secret=b"secret"),
                    feed.FeedFilters(**wanted),
                    retention=timedelta(days=30),
                    now=store.now,
                )
        cursor, seen = page.next_cursor, seen + len(page.data)
        assert page.has_more
        await costs_little(store.harness, sent)
    assert seen == 150 or asked.get("event_type") in ("job.damaged", "job.none") or "location_id" in asked


@pytest.mark.parametrize("bucket_seconds", [3600, 24 * 3600])
async def test_statistics_of_an_endpoint_read_a_bounded_number_of_deliveries(
    store: Store, bucket_seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "COUNTED_MAX", 1_200)

    with statements(store.harness) as sent:
        found = await of_endpoint(store, bucket_seconds)

    assert found.waiting == stats.WAITING_COUNTED_MAX
    assert found.oldest_due_seconds >= 29_999
    assert any(bucket.is_partial for bucket in found.buckets)
    # One more bucket, in which a partition is read to its end, and the waiting deliveries: first attempts and retries.
    await costs_little(store.harness, sent, read_max=1_200 + 2 * stats.WAITING_COUNTED_MAX + 100)


async def test_statistics_count_all_deliveries_up_to_the_limit(store: Store) -> None:
    found = await of_endpoint(store, 24 * 3600)

    (row,) = await store.harness.rows(
        "SELECT count(*) AS deliveries, count(*) FILTER (WHERE status = 'failed') AS failed, sum(attempts_made) AS attempts"
        " FROM deliveries WHERE endpoint_id = :id",
        id=to_uuid(store.endpoint_id),
    )
    assert sum(bucket.deliveries for bucket in found.buckets) == row.deliveries
    assert sum(bucket.failed for bucket in found.buckets) == row.failed
    assert sum(bucket.attempts for bucket in found.buckets) == row.attempts
    assert not any(bucket.is_partial for bucket in found.buckets)


async def of_endpoint(store: Store, bucket_seconds: int) -> Any:
    async with store.harness.database.reading() as session:
        return await stats.get_stats(
            session,
            store.harness.caller,
            store.endpoint_id,
            since=store.now - timedelta(seconds=bucket_seconds * 13),
            until=None,
            bucket_seconds=bucket_seconds,
            now=store.now,
        )


async def test_the_health_of_everything_reads_a_bounded_number_of_deliveries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "COUNTED_MAX", 24 * 20)
    policy = DisablePolicy(432_000, 20)

    with statements(store.harness) as sent:
        async with store.harness.database.searching() as session:
            found = await health.get_health(session, store.harness.caller, policy, store.now)

    (endpoint,) = found.endpoints
    assert endpoint.is_partial
    assert endpoint.waiting == 1_000
    assert sum(endpoint.deliveries_by_hour) == endpoint.deliveries <= 24 * 20
    # Deliveries of a day and their events for the locations, the waiting ones, and those of the endpoint.
    await costs_little(store.harness, sent, read_max=2 * 3_000 + 2 * 1_000 + 24 * 20 + 200)


async def test_a_preview_reads_the_events_of_the_days_asked_for(store: Store) -> None:
    wanted = MatchPreviewIn.model_validate(
        {"event_types": ["job.damaged"], "location_ids": "*", "since": (store.now - timedelta(days=1)).isoformat()}
    )

    with statements(store.harness) as sent:
        async with store.harness.database.searching() as session:
            found = await preview.preview_match(session, store.harness.caller, wanted, store.now)

    assert found.matched == 1
    assert not found.is_partial
    await costs_little(store.harness, sent, read_max=2 * 3_000)


@pytest.mark.parametrize("asked", ["endpoint_id", "status"])
async def test_a_page_of_replays_reads_those_it_shows(store: Store, asked: str) -> None:
    wanted: dict[str, Any] = {"endpoint_id": None, "status": None}
    wanted[asked] = store.endpoint_id if asked == "endpoint_id" else "cancelled"
    paging = Paging(limit=50, cursor=None, scope="replays", secret=b"secret")

    with statements(store.harness) as sent:
        async with store.harness.database.reading() as session:
            page = await operations.list_replays(session, store.harness.caller, paging, **wanted)

    assert len(page.data) == 1
    await costs_little(store.harness, sent, read_max=100)
