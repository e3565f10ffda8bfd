"""What the edge notes of requests with credentials: whose they are, what is kept of them, and how many."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from shared.access import credentials
from shared.access.principals import Principal
from shared.access.request_log import COUNTS_PER_EVENT_MAX, RequestLog
from shared.events import Vocabulary, access
from shared.events.access import FailedRequestState, RequestsLogged
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.client import Api
from tests.harness.edge_app import EdgeTestApp
from tests.harness.people import Merchant, Tenant

TENANT = "ten_01h455vb4pex5vsknk084sn02q"


@pytest.fixture
def publishing(database: Database) -> Database:
    """The database of one test alone, whose events stay in the outbox."""
    outbox.attach(database, wake=None)
    return database


async def published(database: Database) -> list[RequestsLogged]:
    """The events that wait in the outbox."""
    async with database.reading() as session:
        rows = (await session.execute(text("SELECT headers, value FROM outbox ORDER BY id"))).all()
    read = Vocabulary(*access.EVENTS).read
    events = [read(dict(row.headers), row.value) for row in rows]
    return [event for event in events if isinstance(event, RequestsLogged)]


async def failures(edge: EdgeTestApp, *credential_ids: str) -> list[FailedRequestState]:
    """What was kept of the requests with these credentials, in their order, by all that is in the outbox after a write."""
    await edge.service.request_log.write(datetime.now(UTC), rest=True)
    events = await published(edge.service.database)
    return [state for event in events for state in event.data.failed if state.credential_id in credential_ids]


async def counts(database: Database) -> dict[tuple[str, datetime], tuple[int, int]]:
    """Calls and errors, by credential and hour, as who reads all events knows them."""
    found: dict[tuple[str, datetime], tuple[int, int]] = {}
    for event in await published(database):
        for state in event.data.counts:
            found[state.credential_id, state.hour] = (state.calls, state.errors)
    return found


async def user_key(edge: EdgeTestApp, tenant: Tenant, *scopes: str, **more: Any) -> tuple[str, Api]:
    """A key of the tenant's owner: its id, and a caller with it."""
    key = credentials.new_api_key(livemode=True)
    owner_id = tenant.owner.subject_id
    issued = edge.people.key_issued("user_key", key, tenant_id=tenant.id, user_id=owner_id, scopes=list(scopes), **more)
    await edge.publish(issued)
    return issued.subject, edge.nobody.using({"X-Api-Key": key})


async def test_whatever_refuses_a_valid_credential_the_request_is_kept(edge: EdgeTestApp) -> None:
    tenant, suspended = await edge.create_tenant(), await edge.create_tenant(status="suspended")
    unpaid = await edge.create_tenant(ends_in=timedelta(days=-1))
    good, off = await tenant.create_merchant(), await tenant.create_merchant()
    of_suspended, of_unpaid = await suspended.create_merchant(), await unpaid.create_merchant()
    await off.update(api_access=False)
    expired_id, expired = await user_key(edge, tenant, "orders", expires_at=datetime.now(UTC) - timedelta(days=1))
    poor_id, poor = await user_key(edge, tenant, "reports")

    for merchant in (off, of_suspended, of_unpaid):
        await merchant.api.post("/v1/notes", {"text": "a"})
    await expired.get("/v1/notes")
    await poor.get("/v1/notes")
    await good.api.post("/v1/notes", {"text": ""})
    await good.api.post("/v1/notes", {"text": "conflict"}, headers={"Idempotency-Key": "k-1"})
    await good.api.post("/v1/notes", {"text": "conflict"}, headers={"Idempotency-Key": "k-1"})
    await good.api.post("/v1/notes", {"text": "crash"})

    merchants: list[Merchant] = [off, of_suspended, of_unpaid, good]
    kept = await failures(edge, *(one.account_id for one in merchants), expired_id, poor_id)
    assert [(one.method, one.path, one.status, one.code) for one in kept] == [
        ("POST", "/v1/notes", 403, "api_access_off"),
        ("POST", "/v1/notes", 403, "tenant_suspended"),
        ("POST", "/v1/notes", 402, "subscription_required"),
        ("GET", "/v1/notes", 401, "credential_expired"),
        ("GET", "/v1/notes", 403, "permission_missing"),
        ("POST", "/v1/notes", 422, "invalid"),
        ("POST", "/v1/notes", 409, "conflict"),
        ("POST", "/v1/notes", 409, "conflict"),
        ("POST", "/v1/notes", 500, "internal_error"),
    ]
    assert (kept[0].tenant_id, kept[0].subject_id) == (tenant.id, off.id)
    assert kept[3].subject_id == tenant.owner.subject_id


async def test_an_entry_leads_to_the_request_and_has_nothing_of_its_content(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()

    answer = await merchant.api.get("/v1/notes/4711?secret=ada@example.com")

    (kept,) = await failures(edge, merchant.account_id)
    assert kept.request_id == answer.headers["x-request-id"]
    assert kept.path == "/v1/notes/{note_id}"
    assert kept.milliseconds > 0
    said = str(await published(edge.service.database))
    assert "ada@example.com" not in said
    assert "4711" not in said
    assert "wbk_" not in said


async def test_what_a_stranger_presents_and_what_a_session_does_is_not_noted(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    merchant.key = credentials.new_api_key(livemode=True)

    assert (await merchant.api.get("/v1/anyone")).status_code == 401
    assert (await session.get("/v1/notes/1")).status_code == 403
    assert (await tenant.owner.get("/v1/notes/1")).status_code == 404

    await edge.service.request_log.write(datetime.now(UTC), rest=True)
    said = str(await published(edge.service.database))
    assert merchant.account_id not in said
    assert tenant.id not in said


# -- how many, and how often ----------------------------------------------------------------------------------------------


def principal(name: str = "acct_a") -> Principal:
    return Principal(credential_id=name, tenant_id=TENANT, subject_id="mer_a")


def note(requests: RequestLog, *statuses: int, name: str = "acct_a") -> None:
    for status in statuses:
        code = None if status < 400 else "invalid"
        requests.note(
            principal(name), method="GET", path="/", status=status, code=code, request_id="req_1", seconds=0.002
        )


def request_log(database: Database, **bounds: int) -> RequestLog:
    return RequestLog(database, service="tests", metrics=Metrics("tests"), **bounds)


async def test_steady_use_is_counted_once_a_minute_and_failures_are_told_at_once(publishing: Database) -> None:
    requests, now = request_log(publishing), datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    now = hour + timedelta(minutes=1)

    note(requests, 200, 422)
    await requests.write(now)
    note(requests, 200, 500)
    await requests.write(now + timedelta(seconds=5))
    assert await counts(publishing) == {("acct_a", hour): (2, 1)}
    assert [state.status for event in await published(publishing) for state in event.data.failed] == [422, 500]

    await requests.write(now + timedelta(seconds=60))
    assert await counts(publishing) == {("acct_a", hour): (4, 2)}
    before = len(await published(publishing))
    await requests.write(now + timedelta(seconds=180))
    assert len(await published(publishing)) == before


async def test_each_hour_has_its_own_count(publishing: Database) -> None:
    requests = request_log(publishing)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    later = hour + timedelta(hours=1)

    note(requests, 200, 200)
    await requests.write(hour + timedelta(minutes=59))
    note(requests, 200)
    await requests.write(later)
    note(requests, 404)
    await requests.write(later + timedelta(seconds=5), rest=True)

    assert await counts(publishing) == {("acct_a", hour): (3, 0), ("acct_a", later): (1, 1)}


async def test_what_cannot_be_published_stays_noted(publishing: Database) -> None:
    requests, now = request_log(publishing), datetime.now(UTC)
    note(requests, 200, 422)
    async with publishing.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE outbox RENAME TO away"))

    with pytest.raises(asyncpg.UndefinedTableError):
        await requests.write(now)
    async with publishing.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO outbox"))
    await requests.write(now)

    assert list((await counts(publishing)).values()) == [(2, 1)]
    assert [len(event.data.failed) for event in await published(publishing)] == [0, 1]


async def test_memory_is_bounded_and_what_is_beyond_is_counted_as_long_as_there_is_room(publishing: Database) -> None:
    requests = request_log(publishing, credentials_max=2, failures_max=3, failures_per_hour_max=2)
    for name in ("acct_a", "acct_b", "acct_c"):
        note(requests, 422, 422, 422, name=name)

    await requests.write(datetime.now(UTC))

    by_name = {name: counted for (name, _), counted in (await counts(publishing)).items()}
    assert by_name == {"acct_a": (3, 3), "acct_b": (3, 3)}
    kept = [state.credential_id for event in await published(publishing) for state in event.data.failed]
    assert kept == ["acct_a", "acct_a", "acct_b"]


async def test_many_counts_leave_as_a_few_events_of_bounded_size(publishing: Database) -> None:
    requests = request_log(publishing)
    for number in range(COUNTS_PER_EVENT_MAX + 1):
        note(requests, 200, name=f"acct_{number}")

    await requests.write(datetime.now(UTC))

    assert [len(event.data.counts) for event in await published(publishing)] == [COUNTS_PER_EVENT_MAX, 1]
