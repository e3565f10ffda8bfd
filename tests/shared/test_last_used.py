"""Which credentials are in use: noted when they are accepted, published seldom, through the outbox, and without the keys."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text

from shared.access import credentials
from shared.access.last_used import USES_PER_EVENT_MAX, LastUsedTracker
from shared.events import Vocabulary, access
from shared.events.access import CredentialUsed
from shared.messaging import outbox
from shared.postgres.database import Database
from tests.harness.client import Api
from tests.harness.edge_app import EdgeTestApp, run_edge_app
from tests.harness.people import Tenant
from tests.harness.transport import running

NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def publishing(database: Database) -> Database:
    """The database of one test alone, whose events stay in the outbox."""
    outbox.attach(database, wake=None)
    return database


async def published(database: Database) -> list[CredentialUsed]:
    """The events that wait in the outbox."""
    async with database.reading() as session:
        rows = (await session.execute(text("SELECT headers, value FROM outbox ORDER BY id"))).all()
    read = Vocabulary(*access.EVENTS).read
    events = [read(dict(row.headers), row.value) for row in rows]
    return [event for event in events if isinstance(event, CredentialUsed)]


async def uses(database: Database) -> list[tuple[str, datetime]]:
    return [(use.credential_id, use.used_at) for event in await published(database) for use in event.data.uses]


async def written(edge: EdgeTestApp) -> dict[str, datetime]:
    """When each credential was used, by all that is in the outbox after a write."""
    await edge.service.last_used.write(datetime.now(UTC), rest=True)
    return dict(await uses(edge.service.database))


async def user_key(edge: EdgeTestApp, tenant: Tenant, *scopes: str) -> tuple[str, Api]:
    """A key of the tenant's owner: its id, and a caller with it."""
    key = credentials.new_api_key(livemode=True)
    owner_id = tenant.owner.subject_id
    issued = edge.people.key_issued("user_key", key, tenant_id=tenant.id, user_id=owner_id, scopes=list(scopes))
    await edge.publish(issued)
    return issued.subject, edge.nobody.using({"X-Api-Key": key})


# -- what counts --------------------------------------------------------------------------------------------------------


async def test_api_credentials_and_keys_that_are_accepted_are_published_and_sessions_are_not(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    key_id, key = await user_key(edge, tenant, "orders")
    before = datetime.now(UTC)

    for caller in (merchant.api, key, tenant.owner, await merchant.session()):
        assert (await caller.get("/v1/anyone")).status_code == 200
    found = await written(edge)

    assert before <= found[merchant.account_id] <= found[key_id] <= datetime.now(UTC)
    assert tenant.owner.subject_id not in found
    assert merchant.id not in found


async def test_a_request_that_lacks_only_the_permission_is_a_use(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    key_id, key = await user_key(edge, tenant, "reports")

    not_admitted = await merchant.api.get("/v1/notes")
    missing = await key.get("/v1/notes")

    assert (not_admitted.json()["code"], missing.json()["code"]) == ("credential_not_admitted", "permission_missing")
    assert {merchant.account_id, key_id} <= (await written(edge)).keys()


async def test_a_credential_that_is_refused_is_not_in_use(edge: EdgeTestApp) -> None:
    tenant, suspended = await edge.create_tenant(), await edge.create_tenant(status="suspended")
    unpaid = await edge.create_tenant(ends_in=timedelta(days=-1))
    wrong, off = await tenant.create_merchant(), await tenant.create_merchant()
    of_suspended, of_unpaid = await suspended.create_merchant(), await unpaid.create_merchant()
    await off.update(api_access=False)
    wrong.key = credentials.new_api_key(livemode=True)

    answers = [
        await merchant.api.post("/v1/notes", {"text": "a"}) for merchant in (wrong, off, of_suspended, of_unpaid)
    ]

    assert [answer.json()["code"] for answer in answers] == [
        "credentials_wrong",
        "api_access_off",
        "tenant_suspended",
        "subscription_required",
    ]
    refused = {merchant.account_id for merchant in (wrong, off, of_suspended, of_unpaid)}
    assert refused.isdisjoint(await written(edge))


async def test_no_key_leaves_the_process(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    await merchant.api.get("/v1/anyone")
    await written(edge)

    (event,) = [event for event in await published(edge.service.database) if merchant.account_id in str(event)]

    assert "wbk_" not in str(event)
    assert (event.topic, event.subject, event.tenant_id) == ("access.usage.v1", "edge", None)
    assert {*json.loads(event.value())["uses"][0]} == {"credential_id", "used_at", "former_key_used_at"}


async def test_an_orderly_stop_writes_what_is_noted(database_url: str) -> None:
    async with run_edge_app(database_url) as stopping:
        merchant = await (await stopping.create_tenant()).create_merchant()
        assert (await merchant.api.get("/v1/anyone")).status_code == 200

    async with run_edge_app(database_url) as later:
        assert merchant.account_id in dict(await uses(later.service.database))


# -- how often, and how many --------------------------------------------------------------------------------------------


async def test_steady_use_is_published_once_an_interval_and_the_last_use_at_its_end(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests")
    first, last = NOW, NOW + timedelta(seconds=20)

    last_used.note("acct_a", first)
    assert await last_used.write(first) == 1
    for seconds in range(21):
        last_used.note("acct_a", NOW + timedelta(seconds=seconds))
        assert await last_used.write(NOW + timedelta(seconds=seconds)) == 0
    assert await last_used.write(NOW + timedelta(seconds=60)) == 1
    assert await last_used.write(NOW + timedelta(seconds=180)) == 0

    assert await uses(publishing) == [("acct_a", first), ("acct_a", last)]


async def test_uses_that_cannot_be_written_stay_noted(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests")
    last_used.note("acct_a", NOW)
    async with publishing.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE outbox RENAME TO away"))

    with pytest.raises(asyncpg.UndefinedTableError):
        await last_used.write(NOW)
    async with running(last_used.run):
        await asyncio.sleep(0)  # It stops in order although it cannot write.
    async with publishing.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO outbox"))

    assert await last_used.write(NOW) == 1
    assert await uses(publishing) == [("acct_a", NOW)]


async def test_a_full_map_leaves_credentials_out_until_there_is_room(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests", tracked_max=2)
    for name in ("acct_a", "acct_b", "acct_c"):
        last_used.note(name, NOW)

    assert await last_used.write(NOW) == 2
    last_used.note("acct_c", NOW)
    assert await last_used.write(NOW) == 1

    assert [name for name, _ in await uses(publishing)] == ["acct_a", "acct_b", "acct_c"]


async def test_many_uses_leave_as_a_few_events_of_bounded_size(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests")
    for number in range(2 * USES_PER_EVENT_MAX + 1):
        last_used.note(f"acct_{number}", NOW)

    assert await last_used.write(NOW) == 2 * USES_PER_EVENT_MAX + 1

    assert [len(event.data.uses) for event in await published(publishing)] == [
        USES_PER_EVENT_MAX,
        USES_PER_EVENT_MAX,
        1,
    ]


async def test_a_use_of_the_former_key_is_told_apart(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests")
    last_used.note("acct_a", NOW, former_key=True)
    last_used.note("acct_a", NOW + timedelta(seconds=1))

    await last_used.write(NOW + timedelta(seconds=2))

    ((use,),) = [event.data.uses for event in await published(publishing)]
    assert (use.former_key_used_at, use.used_at) == (NOW, NOW + timedelta(seconds=1))
