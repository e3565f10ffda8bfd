"""What a service knows of a tenant's wish to review jobs first: read from events of any age, kept through an upgrade."""

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
from shared.postgres.database import Database
from shared.postgres.migrations import base_table_statements
from tests.harness.edge_app import EdgeTestApp, edge_database, run_edge_app
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack


@pytest.fixture(scope="module")
async def database_url(backing: BackingStack) -> str:
    return await edge_database(backing)


@pytest.fixture
async def edge(database_url: str) -> AsyncIterator[EdgeTestApp]:
    async with run_edge_app(database_url) as running:
        yield running


async def known(edge: EdgeTestApp, lookup: Lookup) -> Principal:
    async with edge.service.database.reading() as session:
        principal = await load_principal(session, lookup, edge.service.peppers)
    assert principal is not None
    return principal


async def is_reviewed(edge: EdgeTestApp, tenant: Tenant) -> bool:
    return (await known(edge, Lookup("subject", tenant.owner.subject_id))).job_review


def as_published_before(event: Event) -> Event:
    """The event as a reader has it from a record that was written when tenants had no such wish."""
    value = json.loads(event.value())
    del value["job_review"]
    headers = {name: content.decode() for name, content in event.headers()}
    read = Vocabulary(*identity.EVENTS).read(headers, json.dumps(value).encode())
    assert read is not None
    return read


async def test_a_tenants_wish_is_part_of_each_of_its_callers_principals(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    key = credentials.new_api_key(livemode=True)
    await edge.publish(edge.people.key_issued("platform_key", key, scopes=["platform"]))
    digest = edge.service.peppers.digest(key)
    callers = (
        Lookup("subject", tenant.owner.subject_id),
        Lookup("subject", merchant.id),
        Lookup("account", merchant.account_id),
        Lookup("key", digest, tenant.id),
    )
    assert {(await known(edge, caller)).job_review for caller in callers} == {False}

    await tenant.update(job_review=True)

    assert {(await known(edge, caller)).job_review for caller in callers} == {True}
    assert (await known(edge, Lookup("key", digest))).job_review is False


async def test_an_event_from_before_the_wish_existed_asks_for_no_review(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    await tenant.update(job_review=True)

    tenant.version += 1
    await edge.publish(as_published_before(edge.people.tenant_updated(tenant)))

    assert await is_reviewed(edge, tenant) is False


async def test_an_older_wish_changes_nothing(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    await tenant.update(job_review=True)
    older = edge.people.tenant_updated(tenant)
    await tenant.update(job_review=False)

    await edge.publish(older)

    assert await is_reviewed(edge, tenant) is False


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
