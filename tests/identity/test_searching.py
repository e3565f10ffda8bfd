"""People and places are found by the words of their names, addresses and references."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from identity import search_filling
from identity.app import create_service
from shared.ids import new_id
from tests.harness.bodies import location_body, staff_body
from tests.harness.client import Api, document, refused
from tests.harness.identity import Identity
from tests.harness.merchant_stock import write_merchants
from tests.harness.people import Tenant

MANY = 2_000
READ_MAX = 800
"""Rows, of all steps of a plan together: a page has 50, of up to 111 that are found, and is read in up to ten."""


async def found(api: Api, path: str, q: str) -> set[str]:
    return set(await api.listed(path, q=q))


async def test_merchants_are_found_by_name_address_account_and_reference(identity: Identity, tenant: Tenant) -> None:
    made = await tenant.create_merchant(
        business_name="Boulangerie Łódź & Søns",
        login_email="ada.lovelace@bakery.example",
        contact_email="shop@elsewhere.example",
        reference_id="KD-2045/7",
    )
    other = await tenant.create_merchant(business_name="Fleuriste Zoé")
    stranger = await (await identity.create_tenant()).create_merchant(business_name="Boulangerie Łódź")
    account = made.document["api_account_id"]

    for q in (
        "boulangerie",
        "BOUL",
        "lodz",
        "Łódź",
        "sons boul",
        "ada",
        "lovelace@bakery",
        "elsewhere",
        "kd-2045",
        "2045/7",
        account,
        account[:12],
        "boul\u200bangerie",
    ):
        assert made.id in await found(tenant.owner, "/v1/merchants", q), q
    for q in ("boulangerie fleuriste", "angerie", "0", "!!", "lodzz"):
        assert made.id not in await found(tenant.owner, "/v1/merchants", q), q
    assert await found(tenant.owner, "/v1/merchants", "boulangerie lodz") == {made.id}
    assert await found(tenant.owner, "/v1/merchants", " ") == {made.id, other.id}
    assert stranger.id not in await found(tenant.owner, "/v1/merchants", "boulangerie")
    assert await tenant.owner.listed("/v1/merchants", q="boulangerie", status="disabled") == []
    # What is found follows what is there.
    await made.update(business_name="Pâtisserie Ada", reference_id=None)
    assert await found(tenant.owner, "/v1/merchants", "patisserie") == {made.id}
    assert await found(tenant.owner, "/v1/merchants", "boulangerie") == set()
    assert await found(tenant.owner, "/v1/merchants", "2045") == set()


async def test_merchants_get_found_by_the_account_that_a_grant_makes(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False)

    granted = await tenant.owner.create(f"/v1/merchants/{merchant.id}/api-access")

    assert await found(tenant.owner, "/v1/merchants", granted["api_account_id"]) == {merchant.id}


async def test_scripts_without_spaces_are_found_by_parts(tenant: Tenant) -> None:
    made = await tenant.create_merchant(business_name="東京都配送センター")

    for q in ("東京", "京都", "配送センター", "都"):
        assert await found(tenant.owner, "/v1/merchants", q) == {made.id}, q
    assert await found(tenant.owner, "/v1/merchants", "京東") == set()


async def test_staff_are_found_by_name_and_address(tenant: Tenant) -> None:
    names = {"first_name": "Zoë", "last_name": "O'Brien-Núñez", "email": "zoe.ob@example.org"}
    made = await tenant.owner.create("/v1/staff", {**staff_body(), **names})

    for q in ("zoe", "nunez", "o'brien", "zoe.ob@example.org", "example.org zoe"):
        assert await found(tenant.owner, "/v1/staff", q) == {made["id"]}, q
    assert await found(tenant.owner, "/v1/staff", "odile") == {tenant.owner.subject_id}
    document(await tenant.owner.patch(f"/v1/staff/{made['id']}", {"last_name": "Marx"}))
    assert await found(tenant.owner, "/v1/staff", "nunez") == set()
    assert await found(tenant.owner, "/v1/staff", "marx") == {made["id"]}


async def test_locations_are_found_by_name_and_reference(identity: Identity, tenant: Tenant) -> None:
    body = location_body(name="Dépôt Nord-Est", reference_id="N-17/b")
    depot = await tenant.owner.create("/v1/locations", body)
    stranger = await (await identity.create_tenant()).owner.create("/v1/locations", {**body, "reference_id": "N-18"})

    for q in ("depot", "DÉPÔT nord", "est", "n-17", "17/b"):
        assert await found(tenant.owner, "/v1/locations", q) == {depot["id"]}, q
    for q in ("epot", "depot sud", "n-18", stranger["id"]):
        assert depot["id"] not in await found(tenant.owner, "/v1/locations", q), q
    assert len(await found(tenant.owner, "/v1/locations", " ")) == 2
    assert await tenant.owner.listed("/v1/locations", q="depot", active="false") == []
    document(await tenant.owner.patch(f"/v1/locations/{depot['id']}", {"name": "Entrepôt"}))
    assert await found(tenant.owner, "/v1/locations", "depot") == set()
    assert await found(tenant.owner, "/v1/locations", "entrepot") == {depot["id"]}


async def test_a_cursor_belongs_to_its_search(tenant: Tenant) -> None:
    for name in ("Ada un", "Ada deux", "Ada trois"):
        await tenant.create_merchant(business_name=name)
    first = await tenant.owner.read("/v1/merchants?q=ada&limit=2")
    path = f"/v1/merchants?limit=2&cursor={first['next_cursor']}"

    second = await tenant.owner.read(f"{path}&q=ada")

    assert [one["business_name"] for one in first["data"] + second["data"]] == ["Ada trois", "Ada deux", "Ada un"]
    refused(await tenant.owner.get(f"{path}&q=un"), 400, "cursor_filters_differ")
    refused(await tenant.owner.get("/v1/merchants?q=" + "x" * 101), 422, "invalid")


async def test_those_who_work_with_jobs_see_names_and_nothing_else(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(business_name="Boulangerie Ada")
    depot = await tenant.owner.create("/v1/locations", location_body(name="Dépôt Nord", reference_id="N-1"))
    await tenant.owner.create(f"/v1/locations/{depot['id']}/deactivate")
    dispatcher, clerk = await tenant.create_staff("orders.jobs.read"), await tenant.create_staff("settings")

    merchants = await dispatcher.read("/v1/directory/merchants?q=ada")
    locations = await dispatcher.read("/v1/directory/locations?q=depot")
    by_id = await dispatcher.read(f"/v1/directory/merchants?id={merchant.id}&id={new_id('mer')}")
    place = await dispatcher.read(f"/v1/directory/locations?id={depot['id']}")

    assert (by_id["data"], place["data"]) == (merchants["data"], locations["data"])
    assert merchants["data"] == [{"object": "merchant", "id": merchant.id, "name": "Boulangerie Ada"}]
    assert locations["data"] == [{"object": "location", "id": depot["id"], "name": "Dépôt Nord"}]
    refused(await dispatcher.get("/v1/merchants"), 403, "permission_missing")
    for path in ("/v1/directory/merchants", "/v1/directory/locations"):
        refused(await clerk.get(path), 403, "permission_missing")
        refused(await (await merchant.reveal()).get(path), 403, "credential_not_admitted")


async def test_a_merchant_lists_the_locations_that_its_jobs_may_name(tenant: Tenant) -> None:
    north, south, elsewhere = [
        (await tenant.owner.create("/v1/locations", location_body(name=name, reference_id=name)))["id"]
        for name in ("North", "South", "Elsewhere")
    ]
    merchant = await tenant.create_merchant(location_ids=[north, south], default_location_id=south)
    await tenant.owner.create(f"/v1/locations/{north}/deactivate")
    await merchant.update(location_ids=[north, south, tenant.default_location])

    for api in (await merchant.session(), await merchant.reveal()):
        listed = (await api.read("/v1/api-settings/locations"))["data"]
        assert [one["id"] for one in listed] == [south, tenant.default_location]
        south_ = {"object": "location", "id": south, "name": "South", "reference_id": "South", "is_default": True}
        assert listed[0] == south_
        assert elsewhere not in str(listed)
    refused(await tenant.owner.get("/v1/api-settings/locations"), 403, "credential_not_admitted")


async def test_rows_of_before_are_filled_in(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(business_name="Boulangerie Ada")
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        for table in ("merchants", "users", "locations"):
            await connection.execute(f"UPDATE {table} SET search_words = NULL")
    finally:
        await connection.close()
    assert await found(tenant.owner, "/v1/merchants", "ada") == set()

    service = create_service(identity.settings)
    filled = 1
    while filled:
        async with service.database.transaction() as session:
            filled = await search_filling.fill(session, 3)
    await service.database.close()

    assert await found(tenant.owner, "/v1/merchants", "ada") == {merchant.id}
    assert await found(tenant.owner, "/v1/staff", "odile") == {tenant.owner.subject_id}
    assert await found(tenant.owner, "/v1/directory/locations", "main") == {tenant.default_location}


@pytest.fixture(scope="module")
async def crowd(identity: Identity) -> Tenant:
    """A tenant with many merchants."""
    tenant = await identity.create_tenant()
    await write_merchants(identity.settings, tenant, MANY, lambda number: f"Boulangerie {number} Numéro{number}")
    return tenant


@pytest.mark.parametrize(
    ("q", "index"),
    [
        ("numero1234", "ix_merchants_search"),
        ("m77", "ix_merchants_search"),
        # All of them are old ones: on the way through the list most of it would be met first.
        ("m2", "ix_merchants_search"),
        ("boulangerie", "ix_merchants_page"),
    ],
)
async def test_a_search_reads_what_it_shows_and_little_more(
    identity: Identity, crowd: Tenant, q: str, index: str
) -> None:
    """A rare word is looked up; what nearly all have is met on the way through the list."""
    engine = identity.app.state.edge.database.search_engine.sync_engine
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, tuple(parameters)))

    event.listen(engine, "before_cursor_execute", note)
    try:
        page = await crowd.owner.read(f"/v1/merchants?q={q}")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    (statement, values) = sent[-1]
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    finally:
        await connection.close()
    nodes = list(nodes_of(json.loads(explained)[0]["Plan"]))

    assert page["data"]
    assert index in {node.get("Index Name") for node in nodes}
    assert sum(rows_read(node) for node in nodes) <= READ_MAX, explained


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)


def rows_read(node: dict[str, Any]) -> int:
    return int(
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    )
