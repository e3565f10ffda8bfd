"""The audit trail as a stream, and how long it is kept."""

import asyncio
import json
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from identity.app import create_service
from identity.audit import worker
from shared.ids import first_id_at, from_uuid, to_uuid
from tests.harness.client import Api, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.waiting import eventually

PATH = "/v1/audit-events"
NDJSON = {"Accept": "application/x-ndjson"}
STORED = """
    INSERT INTO audit_events (audit_id, service, tenant_id, created_at, actor, actor_kind, via, action, target, address, request_id)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(md5(n::text || random()::text), 1, 20))::uuid,
        'jobs', $1, at, 'usr_1', 'staff', 'session', 'jobs.exported', 'ten_1', '', ''
    FROM (SELECT n, $2::timestamptz - n * interval '1 minute' AS at FROM generate_series(1, $3::int) AS n) AS made
"""


@pytest.fixture
async def connection(identity: Identity) -> Any:
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    yield connection
    await connection.close()


async def store(connection: Any, tenant: Tenant, count: int, *, before: datetime) -> None:
    """Store audit events, one a minute, that end at an instant."""
    await connection.execute(STORED, to_uuid(tenant.id), before, count)


async def streamed(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"{PATH}{query}", headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_stream_has_all_events_of_the_list(tenant: Tenant, connection: Any) -> None:
    await store(connection, tenant, 450, before=datetime.now(UTC) - timedelta(hours=1))

    everything = await streamed(tenant.owner)
    some = await streamed(tenant.owner, "?action=jobs.exported&service=jobs")
    first = await tenant.owner.read(f"{PATH}?action=jobs.exported&limit=200")
    rest = await streamed(tenant.owner, f"?action=jobs.exported&cursor={first['next_cursor']}")

    assert len(some) == 450
    assert [one["id"] for one in some] == [one["id"] for one in everything if one["service"] == "jobs"]
    assert first["data"] + rest == some
    # The stream is an audit event itself, which names the filters and not their values.
    trail = await tenant.owner.read(f"{PATH}?action=audit_events.exported")
    assert [one["after"] for one in trail["data"]] == [
        {"filters": ["action"]},
        {"filters": ["action", "service"]},
        {"filters": []},
    ]


async def test_a_stream_is_refused_as_the_list_is(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("home")

    refused(await clerk.get(PATH, headers=NDJSON), 403, "permission_missing")
    refused(await tenant.owner.get(f"{PATH}?surprise=1", headers=NDJSON), 422, "invalid")
    refused(await tenant.owner.get(f"{PATH}?cursor=x", headers=NDJSON), 400, "cursor_invalid")
    assert (await tenant.owner.get(PATH, headers={"Accept": "application/json, */*"})).json()["object"] == "list"


async def test_a_reader_that_stands_still_holds_a_place_and_nothing_else(
    identity: Identity, tenant: Tenant, connection: Any
) -> None:
    """Streams are begun as the server begins them, and not read: others are answered, and no transaction waits."""
    await store(connection, tenant, 450, before=datetime.now(UTC) - timedelta(hours=1))
    per_tenant = identity.settings.audit_exports_per_tenant_max
    reading, go_on = asyncio.Semaphore(0), asyncio.Event()
    received: list[bytes] = []

    async def stand_still() -> None:
        async def receive() -> dict[str, Any]:
            await go_on.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message.get("body"):
                received.append(message["body"])
                reading.release()
                await go_on.wait()

        headers = {**tenant.owner.headers, **NDJSON}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await identity.app(scope, receive, send)

    slow = [asyncio.create_task(stand_still()) for _ in range(per_tenant)]
    for _ in slow:
        await reading.acquire()

    # One page has left each of them, and no more was read: memory is bounded.
    assert len(received) == per_tenant
    assert max(len(one.splitlines()) for one in received) <= 200
    assert refused(await tenant.owner.get(PATH, headers=NDJSON), 429, "exports_running")["retry_after_seconds"] > 0
    other = await identity.create_tenant()
    assert await streamed(other.owner)
    assert (await tenant.owner.get(PATH)).status_code == 200
    idle = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )

    async def nothing_waits() -> bool:
        return int(await connection.fetchval(idle)) == 0

    await eventually(nothing_waits, what="no transaction is held by a reader")
    go_on.set()
    await asyncio.gather(*slow)
    assert len(b"".join(received).splitlines()) >= 450 * per_tenant
    assert await streamed(tenant.owner)


async def test_old_events_are_deleted_and_the_others_stay(identity: Identity, tenant: Tenant, connection: Any) -> None:
    now = datetime.now(UTC)
    await store(connection, tenant, 30, before=now - timedelta(days=400))
    await store(connection, tenant, 20, before=now - timedelta(days=300))
    service = create_service(identity.settings)
    try:
        await worker.purge_audit_events(service.database, kept_days=365)
    finally:
        await service.database.close()

    left = [one["created_at"] for one in await streamed(tenant.owner, "?action=jobs.exported")]
    assert len(left) == 20
    assert min(map(datetime.fromisoformat, left)) > now - timedelta(days=365)
    assert (await tenant.owner.read(f"{PATH}?action=tenant.created"))["data"]


def test_the_first_id_of_an_instant_is_before_all_ids_made_then() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    first = from_uuid("aud", first_id_at(at))

    assert first_id_at(at - timedelta(milliseconds=1)) < to_uuid(first) < first_id_at(at + timedelta(milliseconds=1))
