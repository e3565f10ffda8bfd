"""What a service knows of a tenant's wish to review jobs first: learnt from facts of any age, kept through an upgrade."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text

from shared.access import credentials
from shared.access.principal_store import Lookup, load_principal
from shared.access.principals import Principal
from shared.events import Event, Vocabulary, identity
from shared.ids import new_id
from shared.postgres.database import Database
from shared.postgres.migrations import base_table_statements
from tests.harness.probe import Probe, ProbeTenant, create_plumbing, run_probe
from tests.harness.stack import BackingStack


@pytest.fixture(scope="module")
async def database_url(backing: BackingStack) -> str:
    url = await asyncio.to_thread(backing.create_database, "projections")
    await create_plumbing(url)
    return url


@pytest.fixture
async def probe(database_url: str) -> AsyncIterator[Probe]:
    async with run_probe(database_url) as running:
        yield running


async def known(probe: Probe, lookup: Lookup) -> Principal:
    async with probe.service.database.reading() as session:
        principal = await load_principal(session, lookup, probe.peppers)
    assert principal is not None
    return principal


async def is_reviewed(probe: Probe, tenant: ProbeTenant) -> bool:
    return (await known(probe, Lookup("subject", tenant.owner_id))).job_review


def as_published_before(fact: Event) -> Event:
    """The fact as a reader has it from a record that was written when tenants had no such wish."""
    value = json.loads(fact.value())
    del value["job_review"]
    headers = {name: content.decode() for name, content in fact.headers()}
    read = Vocabulary(*identity.EVENTS).read(headers, json.dumps(value).encode())
    assert read is not None
    return read


async def test_a_tenants_wish_is_part_of_each_of_its_callers_standings(probe: Probe) -> None:
    tenant = await probe.tenant()
    merchant = await tenant.merchant()
    digest = probe.peppers.digest(credentials.new_api_key(livemode=True))
    key = identity.CredentialState(
        credential_id=new_id("key"),
        kind="platform_key",
        name="operator",
        scopes=["platform"],
        active=True,
        livemode=True,
        digests=[identity.DigestState(digest=digest, pepper_version=probe.peppers.current_version)],
    )
    await probe.learn(identity.CredentialIssued(tenant_id=None, subject=key.credential_id, sequence=1, data=key))
    callers = (
        Lookup("subject", tenant.owner_id),
        Lookup("subject", merchant.id),
        Lookup("account", merchant.account_id),
        Lookup("key", digest, tenant.id),
    )
    assert {(await known(probe, caller)).job_review for caller in callers} == {False}

    await probe.learn(tenant.state(job_review=True))

    assert {(await known(probe, caller)).job_review for caller in callers} == {True}
    assert (await known(probe, Lookup("key", digest))).job_review is False


async def test_a_fact_from_before_the_wish_existed_asks_for_no_review(probe: Probe) -> None:
    tenant = await probe.tenant()
    await probe.learn(tenant.state(job_review=True))

    await probe.learn(as_published_before(tenant.state()))

    assert await is_reviewed(probe, tenant) is False


async def test_an_older_wish_changes_nothing(probe: Probe) -> None:
    tenant = await probe.tenant()
    older, newer = tenant.state(job_review=True), tenant.state(job_review=False)
    await probe.learn(newer)

    await probe.learn(older)

    assert await is_reviewed(probe, tenant) is False


async def test_tenants_that_were_known_before_the_upgrade_ask_for_no_review(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "projections")
    database = Database(url, application_name="tests", pool_size=1)
    former_release = text(
        "INSERT INTO access_tenants (tenant_id, version, name, status, livemode) VALUES (:id, 1, 'T', 'active', true)"
    )
    async with database.transaction() as session:
        for statement in base_table_statements(1):
            await session.execute(text(statement))
        await session.execute(former_release, {"id": uuid4()})

        for statement in base_table_statements(2):
            await session.execute(text(statement))

        # One process of the former release may still be running.
        await session.execute(former_release, {"id": uuid4()})
        wishes = await session.execute(text("SELECT job_review FROM access_tenants"))
        assert list(wishes.scalars()) == [False, False]
    await database.close()
