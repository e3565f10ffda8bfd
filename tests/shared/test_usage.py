"""Which credentials are in use: noted when they are accepted, told seldom, through the outbox, and without the keys."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text

from shared.access import credentials
from shared.access.last_used import USES_PER_EVENT_MAX, LastUsedTracker
from shared.events import Vocabulary, access, identity
from shared.events.access import CredentialUsed
from shared.ids import new_id
from shared.messaging import outbox
from shared.postgres.database import Database
from tests.harness.probe import Probe, create_plumbing, run_probe
from tests.harness.stack import BackingStack
from tests.harness.transport import running

NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
async def database_url(backing: BackingStack) -> str:
    url = await asyncio.to_thread(backing.create_database, "usage")
    await create_plumbing(url)
    return url


@pytest.fixture
async def probe(database_url: str) -> AsyncIterator[Probe]:
    async with run_probe(database_url) as running_probe:
        yield running_probe


@pytest.fixture
def publishing(database: Database) -> Database:
    """The database of one test alone, whose facts stay in the outbox."""
    outbox.attach(database, wake=None)
    return database


async def told(database: Database) -> list[CredentialUsed]:
    """The facts that wait in the outbox."""
    async with database.reading() as session:
        rows = (await session.execute(text("SELECT headers, value FROM outbox ORDER BY id"))).all()
    read = Vocabulary(*access.EVENTS).read
    facts = [read(dict(row.headers), row.value) for row in rows]
    return [fact for fact in facts if isinstance(fact, CredentialUsed)]


async def uses(database: Database) -> list[tuple[str, datetime]]:
    return [(use.credential_id, use.used_at) for fact in await told(database) for use in fact.data.uses]


async def written(probe: Probe) -> dict[str, datetime]:
    """When each credential was used, by all that is in the outbox after a write."""
    await probe.service.last_used.write(datetime.now(UTC), rest=True)
    return dict(await uses(probe.service.database))


async def user_key(probe: Probe, tenant_id: str, user_id: str, *scopes: str) -> tuple[str, dict[str, str]]:
    """A key of this user: its id, and what is presented."""
    key = credentials.new_api_key(livemode=True)
    digest = identity.DigestState(digest=probe.peppers.digest(key), pepper_version=probe.peppers.current_version)
    state = identity.CredentialState(
        credential_id=new_id("key"),
        kind="user_key",
        tenant_id=tenant_id,
        user_id=user_id,
        name="ERP",
        scopes=list(scopes),
        active=True,
        livemode=True,
        digests=[digest],
    )
    subject = state.credential_id
    await probe.learn(identity.CredentialIssued(tenant_id=tenant_id, subject=subject, sequence=1, data=state))
    return subject, {"X-Api-Key": key}


# -- what counts --------------------------------------------------------------------------------------------------------


async def test_pairs_and_keys_that_are_accepted_are_told_of_and_sessions_are_not(probe: Probe) -> None:
    tenant = await probe.tenant()
    merchant = await tenant.merchant()
    key_id, key = await user_key(probe, tenant.id, tenant.owner_id, "orders")
    before = datetime.now(UTC)

    for headers in (merchant.pair, key, tenant.owner, merchant.session):
        assert (await probe.client.get("/v1/anyone", headers=headers)).status_code == 200
    found = await written(probe)

    assert before <= found[merchant.account_id] <= found[key_id] <= datetime.now(UTC)
    assert tenant.owner_id not in found
    assert merchant.id not in found


async def test_a_request_that_lacks_only_the_permission_is_a_use(probe: Probe) -> None:
    tenant = await probe.tenant()
    merchant = await tenant.merchant()
    key_id, key = await user_key(probe, tenant.id, tenant.owner_id, "reports")

    not_admitted = await probe.client.get("/v1/notes", headers=merchant.pair)
    missing = await probe.client.get("/v1/notes", headers=key)

    assert (not_admitted.json()["code"], missing.json()["code"]) == ("credential_not_admitted", "permission_missing")
    assert {merchant.account_id, key_id} <= (await written(probe)).keys()


async def test_a_credential_that_is_refused_is_not_in_use(probe: Probe) -> None:
    tenant, suspended = await probe.tenant(), await probe.tenant(status="suspended")
    unpaid = await probe.tenant(ends_in=timedelta(days=-1))
    wrong, off = await tenant.merchant(), await tenant.merchant()
    of_suspended, of_unpaid = await suspended.merchant(), await unpaid.merchant()
    await probe.learn(off.state(api_access=False))
    wrong.key = credentials.new_api_key(livemode=True)

    answers = [
        await probe.client.post("/v1/notes", headers=merchant.pair, json={"text": "a"})
        for merchant in (wrong, off, of_suspended, of_unpaid)
    ]

    assert [answer.json()["code"] for answer in answers] == [
        "credentials_wrong",
        "api_access_off",
        "tenant_suspended",
        "subscription_required",
    ]
    refused = {merchant.account_id for merchant in (wrong, off, of_suspended, of_unpaid)}
    assert refused.isdisjoint(await written(probe))


async def test_no_key_leaves_the_process(probe: Probe) -> None:
    merchant = await (await probe.tenant()).merchant()
    await probe.client.get("/v1/anyone", headers=merchant.pair)
    await written(probe)

    (fact,) = [fact for fact in await told(probe.service.database) if merchant.account_id in str(fact)]

    assert "wbk_" not in str(fact)
    assert (fact.topic, fact.subject, fact.tenant_id) == ("access.usage.v1", "probe", None)
    assert {*json.loads(fact.value())["uses"][0]} == {"credential_id", "used_at"}


async def test_an_orderly_stop_writes_what_is_noted(database_url: str) -> None:
    async with run_probe(database_url) as stopping:
        merchant = await (await stopping.tenant()).merchant()
        assert (await stopping.client.get("/v1/anyone", headers=merchant.pair)).status_code == 200

    async with run_probe(database_url) as later:
        assert merchant.account_id in dict(await uses(later.service.database))


# -- how often, and how many --------------------------------------------------------------------------------------------


async def test_steady_use_is_told_once_an_interval_and_the_last_use_is_told_at_its_end(publishing: Database) -> None:
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


async def test_many_uses_leave_as_a_few_facts_of_bounded_size(publishing: Database) -> None:
    last_used = LastUsedTracker(publishing, service="tests")
    for number in range(2 * USES_PER_EVENT_MAX + 1):
        last_used.note(f"acct_{number}", NOW)

    assert await last_used.write(NOW) == 2 * USES_PER_EVENT_MAX + 1

    assert [len(fact.data.uses) for fact in await told(publishing)] == [USES_PER_EVENT_MAX, USES_PER_EVENT_MAX, 1]
