"""Plans of searches for a tenant with many jobs: which indexes they use, and that they never scan or sort all rows.

The tests explain the statements that the service sends, with its values.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event

from shared.events.jobs import ContactState
from tests.harness.bodies import smallest_job
from tests.harness.bulk_data import copy_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant

MANY, FEWER, FEW = 18_000, 4_000, 500
SORTED_ROWS_MAX = 4_000
"""Rows that PostgreSQL expects to sort: only rows that were found, never all rows."""

STATUSES = ("completed",) * 16 + ("new", "new", "in_progress", "damaged")
SEARCH = {"ix_jobs_search"}
WALK = {"ix_jobs_of_tenant"}
BY_CREATION = SEARCH | WALK
"""Looked up by tokens; or, if it is frequent, found by a scan of the order."""
SURE = BY_CREATION | {"pk_jobs"}
"""The same, and the shown rows are read by id after their tokens were checked again."""


@dataclass
class Shop:
    """A tenant with many jobs of two merchants, its callers, and the id of one job."""

    owner: Api
    merchant: Api
    merchant_id: str
    tenant: Tenant
    database_url: str
    job_id: str


def varied(number: int, created_at: datetime) -> dict[str, Any]:
    """Jobs of two years, with frequent, rare and unique values."""
    created = created_at - timedelta(minutes=50 * number)
    status = STATUSES[number % len(STATUSES)]
    return {
        "reference_id": f"W-{number:08d}",
        "created_at": created,
        "updated_at": created + timedelta(minutes=number * 7919 % 10_000),
        "status_changed_at": created + timedelta(minutes=number * 7919 % 9_000),
        "status": status,
        "type": "pickup" if number % 50 == 0 else "delivery",
        "scheduled_date": None if number % 10 == 0 else created.date() + timedelta(days=number % 14),
        "contact": ContactState(
            first_name=f"First{number % 97}",
            last_name=f"Last{number % 997}",
            phone=f"+1514555{number % 3000:04d}",
            email=f"person{number % 3000}@example.com",
        ),
        "invoices": [f"F-{number:08d}"],
        "barcodes": [f"{number * 104729 % 10**10:010d}"],
        "tags": ["fragile"] if number % 10 == 0 else [f"route-{number % 500}"],
        "metadata": {"shop": str(number % 200)},
        "assigned_to": f"Truck {number % 300}",
        "sku": f"S-{number % 4000}",
    }


@pytest.fixture(scope="module")
async def shop(service: Jobs) -> Shop:
    """Many jobs of one merchant, fewer of another (the caller of these tests), and few of another tenant."""
    tenant, neighbour = await service.create_tenant(), await service.create_tenant()
    merchant, other, stranger = (
        await tenant.create_merchant(),
        await tenant.create_merchant(),
        await neighbour.create_merchant(),
    )
    original = smallest_job(
        actions=[{"sku": "S-0", "description": "Sofa", "barcode": "B-1"}],
        address={"line1": "1 Rue Sherbrooke", "postal_code": "H2X 1Y4"},
        short_description="Canape",
        distribution_location_id=tenant.toronto,
    )
    elsewhere = {**original, "distribution_location_id": neighbour.toronto}

    def placed(number: int, created_at: datetime) -> dict[str, Any]:
        location_id = tenant.toronto if number % 4 == 0 else tenant.default_location
        return {**varied(number, created_at), "location_id": location_id}

    await copy_job(service, stranger, elsewhere, FEW, varied)
    await copy_job(service, other, original, MANY, placed)
    await copy_job(service, merchant, original, FEWER, placed)
    job = (await merchant.api.read("/v1/jobs", params={"reference_id": "W-00000070"}))["data"][0]
    owner, url = await tenant.create_user("owner"), service.settings.database_url
    return Shop(owner, merchant.api, merchant.id, tenant, url, job["id"])


@pytest.fixture(scope="module")
async def explain(shop: Shop) -> AsyncIterator[asyncpg.Connection]:
    """The connection that explains statements."""
    connection = await asyncpg.connect(shop.database_url)
    yield connection
    await connection.close()


@contextmanager
def statements(service: Jobs) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The statements of the service on jobs and actions in this block, with their values, and its settings of the planner."""
    asked: list[tuple[str, tuple[Any, ...]]] = []
    connections = set()

    def note(query: LoggedQuery) -> None:
        if any(name in query.query for name in ("FROM jobs", "FROM actions", "plan_cache_mode")):
            asked.append((query.query, tuple(query.args)))

    def watch(connection: Any, *_: Any) -> None:
        connections.add(connection.driver_connection)
        connection.driver_connection.add_query_logger(note)

    engine = service.app.state.edge.database.search_engine.sync_engine
    event.listen(engine, "checkout", watch)
    try:
        yield asked
    finally:
        event.remove(engine, "checkout", watch)
        for connection in connections:
            connection.remove_query_logger(note)


async def nodes(
    connection: asyncpg.Connection, statement: str, values: tuple[Any, ...], *, for_values: bool
) -> list[dict[str, Any]]:
    """The nodes of the plan of a statement, planned for these values or for all values."""
    if for_values:
        rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    else:
        prepared = await connection.prepare(statement)
        anything = ", ".join(["NULL"] * len(prepared.get_parameters()))
        rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE {prepared.get_name()}({anything})")
    waiting, found = [json.loads(rows[0][0])[0]["Plan"]], []
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += node.get("Plans", [])
    return found


async def indexes_of(
    service: Jobs, explain: asyncpg.Connection, api: Api, path: str, asked: dict[str, Any]
) -> set[str]:
    """The indexes that a search uses. It must not scan a table or sort more than the rows found."""
    # A new connection, for which neither side has set the plan mode.
    await service.app.state.edge.database.search_engine.dispose()
    for_values = True
    with statements(service) as sent:
        answer = await api.post(path, asked)
    assert answer.status_code == 200, answer.text
    assert sent
    used: set[str] = set()
    for statement, values in sent:
        if "plan_cache_mode" in statement:
            await explain.fetch(statement, *values)
            for_values = "force_custom_plan" in values
        if "FROM" not in statement:
            continue
        for node in await nodes(explain, statement, values, for_values=for_values):
            if any(node.get(name, "").startswith("pg_") for name in ("Relation Name", "Index Name")):
                continue
            assert node["Node Type"] != "Seq Scan", statement
            if "Sort" in node["Node Type"]:
                assert node["Plans"][0]["Plan Rows"] <= SORTED_ROWS_MAX, statement
            if "Index Name" in node:
                used.add(node["Index Name"])
    # This index reads the actions of the jobs of a page.
    return used - {"ix_actions_of_job"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, WALK),
        ({"sort": "created_at"}, WALK),
        ({"sort": "created_at", "tag": ["route-7"]}, BY_CREATION),
        ({"sort": "created_at", "status": ["damaged"]}, {"ix_jobs_of_status"}),
        ({"created_gte": "2026-01-01T00:00:00Z", "created_lte": "2026-02-01T00:00:00Z"}, WALK),
        ({"status": ["completed"]}, {"ix_jobs_of_status"}),
        ({"status": ["damaged"]}, {"ix_jobs_of_status"}),
        ({"status": ["resolved"]}, {"ix_jobs_of_status"}),
        ({"type": ["pickup"]}, {"ix_jobs_of_type"}),
        ({"location_id": "montreal"}, {"ix_jobs_of_location"}),
        ({"location_id": "toronto"}, {"ix_jobs_of_location"}),
        ({"merchant_id": "merchant"}, {"ix_jobs_of_merchant"}),
        ({"reference_id": "W-00000070"}, {"ix_jobs_reference"}),
        ({"status": ["damaged", "resolved"]}, {"ix_jobs_of_status", "pk_jobs"}),
        ({"status": ["new"], "type": ["pickup"]}, BY_CREATION | {"ix_jobs_of_status", "ix_jobs_of_type"}),
        ({"location_id": "both"}, {"ix_jobs_of_location", "pk_jobs"}),
        ({"distribution_location_id": "toronto"}, BY_CREATION),
        ({"merchant_id": "merchant", "status": ["new"]}, BY_CREATION | {"ix_jobs_of_merchant", "ix_jobs_of_status"}),
        ({"phone": "+15145550070"}, BY_CREATION),
        ({"email": "person70@example.com"}, BY_CREATION),
        ({"postal_code": "H2X 1Y4"}, BY_CREATION),
        ({"invoice": "F-00000070"}, BY_CREATION),
        ({"barcode": "0007331030"}, BY_CREATION),
        ({"tag": ["fragile"]}, BY_CREATION),
        ({"tag": ["route-7"]}, BY_CREATION),
        ({"tag": ["none"]}, BY_CREATION),
        ({"metadata": {"shop": "7"}}, BY_CREATION),
        ({"sku": "S-7"}, BY_CREATION),
        ({"external_reference_id": "none"}, BY_CREATION),
        ({"assigned_to": "Truck 7"}, BY_CREATION),
        ({"contact_name": "first7 last7"}, BY_CREATION),
        ({"contact_name": "l"}, BY_CREATION),
        ({"q": "canape"}, BY_CREATION),
        ({"q": "last70"}, BY_CREATION),
        ({"q": "00070"}, SURE),
        ({"q": "first7 last7 canape sherbrooke"}, SURE),
        ({"q": "514 555 0070"}, SURE),
        # Ranges that are neither the order nor tokens: their own indexes if they contain few rows.
        ({"updated_gte": "2026-06-01T00:00:00Z"}, BY_CREATION | {"ix_jobs_updated"}),
        ({"updated_lte": "2026-06-01T00:00:00Z"}, BY_CREATION | {"ix_jobs_updated"}),
        ({"status_changed_gte": "2026-06-01T00:00:00Z"}, BY_CREATION | {"ix_jobs_status_changed"}),
        ({"scheduled_date_gte": "today", "scheduled_date_lte": "today"}, {"ix_jobs_scheduled", "pk_jobs"}),
        ({"deleted": True}, {"ix_jobs_deleted"}),
        ({"deleted": True, "tag": ["fragile"]}, {"ix_jobs_deleted"}),
    ],
)
async def test_each_condition_uses_its_index(
    service: Jobs, shop: Shop, explain: asyncpg.Connection, asked: dict[str, Any], expected: set[str]
) -> None:
    used = await indexes_of(service, explain, shop.owner, "/v1/jobs/search", named(shop, asked))

    assert used
    assert used <= expected


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize(
    ("order", "asked", "expected"),
    [
        ("updated_at", {}, {"ix_jobs_updated"}),
        ("updated_at", {"updated_gte": "2026-06-01T00:00:00Z"}, {"ix_jobs_updated"}),
        ("updated_at", {"tag": ["route-7"]}, SEARCH | {"ix_jobs_updated"}),
        ("updated_at", {"status": ["completed"]}, SEARCH | {"ix_jobs_updated"}),
        ("scheduled_date", {}, {"ix_jobs_scheduled"}),
        ("scheduled_date", {"scheduled_date_gte": "today"}, {"ix_jobs_scheduled"}),
        ("scheduled_date", {"tag": ["route-7"]}, SEARCH | {"ix_jobs_scheduled"}),
        ("scheduled_date", {"status": ["new"]}, SEARCH | {"ix_jobs_scheduled", "ix_jobs_of_status"}),
        ("scheduled_date", {"q": "last70"}, SEARCH | {"ix_jobs_scheduled"}),
    ],
)
async def test_each_order_is_scanned_or_sorts_the_rows_found(
    service: Jobs,
    shop: Shop,
    explain: asyncpg.Connection,
    order: str,
    asked: dict[str, Any],
    expected: set[str],
    direction: str,
) -> None:
    wanted = {**named(shop, asked), "sort": direction + order}

    used = await indexes_of(service, explain, shop.owner, "/v1/jobs/search", wanted)

    assert used
    assert used <= expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"ix_jobs_of_merchant"}),
        ({"status": ["damaged"]}, SEARCH | {"ix_jobs_of_merchant", "ix_jobs_of_status"}),
        ({"tag": ["fragile"]}, SEARCH | {"ix_jobs_of_merchant"}),
        ({"tag": ["route-7"]}, SEARCH | {"ix_jobs_of_merchant"}),
        ({"q": "last70 00070"}, SEARCH | {"ix_jobs_of_merchant", "pk_jobs"}),
        ({"contact_name": "first7"}, SEARCH | {"ix_jobs_of_merchant"}),
        ({"reference_id": "W-00000070"}, {"uq_jobs_reference", "ix_jobs_reference"}),
        # No index has this order for one merchant: the tenant's index is scanned, or the rows found are sorted.
        ({"sort": "-updated_at"}, {"ix_jobs_updated", "ix_jobs_of_merchant"}),
        ({"sort": "scheduled_date"}, {"ix_jobs_scheduled", "ix_jobs_of_merchant"}),
        ({"sort": "scheduled_date", "tag": ["route-7"]}, SEARCH | {"ix_jobs_scheduled"}),
    ],
)
async def test_searches_of_a_merchant_use_indexes_too(
    service: Jobs, shop: Shop, explain: asyncpg.Connection, asked: dict[str, Any], expected: set[str]
) -> None:
    used = await indexes_of(service, explain, shop.merchant, "/v1/jobs/search", asked)

    assert used
    assert used <= expected


ACTIONS = {"ix_actions_search", "ix_actions_of_tenant"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"ix_actions_of_tenant"}),
        ({"sort": "created_at"}, {"ix_actions_of_tenant"}),
        ({"sort": "-updated_at"}, {"ix_actions_updated"}),
        ({"sort": "updated_at", "updated_gte": "2026-06-01T00:00:00Z"}, {"ix_actions_updated"}),
        ({"job_id": "job"}, set()),
        ({"status": ["damaged"]}, {"ix_actions_of_status"}),
        # Nearly all rows have this type, so the index of all rows is as good.
        ({"type": ["delivery"]}, {"ix_actions_of_type", "ix_actions_of_tenant"}),
        ({"merchant_id": "merchant"}, {"ix_actions_of_merchant"}),
        ({"status": ["damaged", "completed"]}, {"ix_actions_of_status", "pk_actions"}),
        ({"sku": "S-7"}, ACTIONS),
        ({"barcode": "B-1"}, ACTIONS),
        ({"invoice_number": "none"}, ACTIONS),
        ({"external_reference_id": "none"}, ACTIONS),
        ({"q": "sofa"}, ACTIONS),
        ({"q": "s-399"}, ACTIONS),
        ({"sku": "S-7", "sort": "-updated_at"}, {"ix_actions_search", "ix_actions_updated"}),
    ],
)
async def test_searches_of_actions_use_indexes_too(
    service: Jobs, shop: Shop, explain: asyncpg.Connection, asked: dict[str, Any], expected: set[str]
) -> None:
    used = await indexes_of(service, explain, shop.owner, "/v1/actions/search", named(shop, asked))

    assert used or asked == {"job_id": "job"}
    assert used <= expected


async def test_a_page_far_from_the_start_costs_no_more_than_the_first(
    service: Jobs, shop: Shop, explain: asyncpg.Connection
) -> None:
    asked: dict[str, Any] = {"tag": ["fragile"], "limit": 200}
    for _ in range(8):
        asked["cursor"] = (await shop.owner.post("/v1/jobs/search", asked)).json()["next_cursor"]

    assert await indexes_of(service, explain, shop.owner, "/v1/jobs/search", asked) <= BY_CREATION


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"updated_gte": "2026-06-01T00:00:00Z"}, "U"),
        ({"updated_gte": "2026-06-01T00:00:00Z", "updated_lte": "2026-06-01T00:05:00Z"}, "U"),
        ({"status_changed_gte": "2026-06-01T00:00:00Z"}, "U"),
        ({"created_gte": "2026-06-01T00:00:00Z", "sort": "updated_at"}, "C"),
    ],
)
async def test_a_range_with_few_rows_is_looked_up_to_its_end(
    service: Jobs, shop: Shop, asked: dict[str, Any], kind: str
) -> None:
    with statements(service) as sent:
        await shop.owner.post("/v1/jobs/search", asked)

    statement, values = [one for one in sent if "FROM jobs" in one[0]][-1]
    looked_up = statement.count("@@")
    spanned = sum(str(value).count(f"('{kind}") for value in values)
    assert "UNION ALL" in statement
    assert looked_up
    assert spanned >= statement.count("UNION ALL") + 1


@pytest.mark.parametrize(("tag", "parts"), [("fragile", {1}), ("route-7", {2, 3, 4, 5}), ("none", {5})])
async def test_one_statement_reads_as_many_parts_as_fill_the_page(
    service: Jobs, shop: Shop, explain: asyncpg.Connection, tag: str, parts: set[int]
) -> None:
    await shop.owner.post("/v1/jobs/search", {"tag": ["none"]})
    with statements(service) as sent:
        await shop.owner.post("/v1/jobs/search", {"tag": [tag], "limit": 20})

    about_jobs = [(statement, values) for statement, values in sent if "FROM jobs" in statement]
    (_, reads) = about_jobs
    (row,) = await explain.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {reads[0]}", *reads[1])
    append = json.loads(row[0])[0]["Plan"]["Plans"][0]
    assert append["Node Type"] == "Append"
    assert sum(part["Actual Loops"] > 0 for part in append["Plans"]) in parts


def named(shop: Shop, asked: dict[str, Any]) -> dict[str, Any]:
    """The conditions, with placeholders replaced by ids and days."""
    today = date.today().isoformat()  # noqa: DTZ011 - close enough to the time zone of the jobs
    toronto, montreal = shop.tenant.toronto, shop.tenant.default_location
    places = {"toronto": [toronto], "montreal": [montreal], "both": [toronto, montreal]}
    values = {**places, "today": today, "merchant": shop.merchant_id, "job": shop.job_id}
    return {
        name: values.get(value, value) if isinstance(value, str) and name != "q" else value
        for name, value in asked.items()
    }
