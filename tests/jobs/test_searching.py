"""Searching jobs: every condition alone and combined, in a query and in a body; words, orders, ranges, and refusals."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import text

from jobs.search.query import as_tsquery
from jobs.search_index import tokens
from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.effort import FACTOR
from tests.harness.jobs import Jobs, Tenant

SOFA: dict[str, Any] = {
    "reference_id": "R/1 'quoted'",
    "type": "pickup",
    "short_description": "Canapé d'angle",
    "scheduled_date": "2030-01-31",
    "contact": {
        "first_name": "Zoé",
        "last_name": "L'Écuyer",
        "company": "Meubles Ørsted & Fils",
        "phone": "+1 514-555-0142",
        "email": "Zoe.Lecuyer@example.com",
    },
    "address": {"line1": "12 Rue Saint-Denis", "city": "Montréal", "postal_code": "h2x 1l4", "country": "CA"},
    "invoices": ["F-2029-0017", "back\\slash"],
    "barcodes": ["0123456789012"],
    "tags": ["Fragile", "à deux: 'portes'"],
    "metadata": {"shop": "7", "a": "b=c", "note": "It's \\ here"},
    "actions": [
        {"sku": "S-1", "barcode": "A-77", "invoice_number": "F-9", "external_reference_id": "ext:1|2"},
        {"sku": "S-2"},
    ],
}
LAMP: dict[str, Any] = {
    "reference_id": "R-2",
    "short_description": "Lampadaire",
    "scheduled_date": "2030-02-28",
    "contact": {"first_name": "Bob", "phone": "+33 1 23 45 67 89"},
    "address": {"raw": "3 Place Ville-Marie"},
    "invoices": ["F-2029-0018"],
    "tags": ["fragile", "heavy"],
    "metadata": {"shop": "8", "a=b": "c"},
    "actions": [{"sku": "S-2"}],
}


async def found(api: Api, **conditions: Any) -> list[str]:
    """The ids that a list finds under these conditions; a search must find the same."""
    listed = await api.listed(**conditions)
    assert await api.searched(**conditions) == listed
    return listed


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"reference_id": "R/1 'quoted'"}, ["sofa"]),
        ({"reference_id": "r/1 'quoted'"}, []),
        ({"type": ["pickup"]}, ["sofa"]),
        ({"type": ["pickup", "delivery"]}, ["lamp", "sofa"]),
        ({"status": ["new"]}, ["lamp", "sofa"]),
        ({"status": ["completed", "cancelled"]}, []),
        ({"status": ["new"], "type": ["delivery"]}, ["lamp"]),
        ({"contact_name": "zoe"}, ["sofa"]),
        ({"contact_name": "Zoé L’ÉCUYER"}, []),
        ({"contact_name": "zoe l'ecu"}, ["sofa"]),
        ({"contact_name": "L'é"}, ["sofa"]),
        ({"contact_name": "meubles ørsted &"}, ["sofa"]),
        ({"contact_name": "cuyer"}, []),
        ({"contact_name": "%"}, []),
        ({"contact_name": "_ob"}, []),
        ({"contact_name": "b"}, ["lamp"]),
        ({"phone": "+1 (514) 555-0142"}, ["sofa"]),
        ({"phone": "+33123456789"}, ["lamp"]),
        ({"phone": "+1 514 555 0143"}, []),
        ({"email": "zoe.lecuyer@EXAMPLE.com"}, ["sofa"]),
        ({"email": "lecuyer@example.com"}, []),
        ({"postal_code": "H2X1L4"}, ["sofa"]),
        ({"postal_code": "h2x 1L4"}, ["sofa"]),
        ({"postal_code": "H2X"}, []),
        ({"invoice": "f-2029-0017"}, ["sofa"]),
        ({"invoice": "F-9"}, ["sofa"]),
        ({"invoice": "back\\slash"}, ["sofa"]),
        ({"invoice": "backslash"}, []),
        ({"barcode": "0123456789012"}, ["sofa"]),
        ({"barcode": "a-77"}, ["sofa"]),
        ({"tag": ["FRAGILE"]}, ["lamp", "sofa"]),
        ({"tag": ["fragile", "heavy"]}, ["lamp"]),
        ({"tag": ["a deux: 'PORTES'"]}, ["sofa"]),
        ({"tag": ["heavy", "none"]}, []),
        ({"sku": "s-2"}, ["lamp", "sofa"]),
        ({"sku": "S-1"}, ["sofa"]),
        ({"external_reference_id": "EXT:1|2"}, ["sofa"]),
        ({"external_reference_id": "ext:1"}, []),
        ({"assigned_to": "Truck 9"}, []),
        ({"scheduled_date_gte": "2030-01-31"}, ["lamp", "sofa"]),
        ({"scheduled_date_gte": "2030-02-01"}, ["lamp"]),
        ({"scheduled_date_lte": "2030-01-31"}, ["sofa"]),
        ({"scheduled_date_gte": "2030-01-31", "scheduled_date_lte": "2030-02-28"}, ["lamp", "sofa"]),
        ({"scheduled_date_gte": "2030-02-01", "scheduled_date_lte": "2030-02-27"}, []),
        ({"scheduled_date_lte": "9999-12-31"}, ["lamp", "sofa"]),
        ({"tag": ["fragile"], "sku": "S-2", "contact_name": "bob", "scheduled_date_gte": "2030-01-01"}, ["lamp"]),
        ({"q": "sofa"}, []),
        ({"q": "canape ANGLE"}, ["sofa"]),
        ({"q": "canape lampadaire"}, []),
        ({"q": "lampadair"}, []),
        ({"q": "saint denis 12"}, ["sofa"]),
        ({"q": "ecuy"}, ["sofa"]),
        ({"q": "ec"}, []),
        ({"q": "2029"}, ["lamp", "sofa"]),
        ({"q": "F-2029-0017"}, ["sofa"]),
        ({"q": "2029-0017"}, ["sofa"]),
        ({"q": "514 555 0142"}, ["sofa"]),
        ({"q": "+1 (514) 555-0142"}, ["sofa"]),
        ({"q": "5550142"}, ["sofa"]),
        ({"q": "R-2"}, ["lamp"]),
        ({"q": "zoe.lecuyer@example.com"}, ["sofa"]),
        ({"q": "% canape"}, ["sofa"]),
        ({"q": "'canape' & !lamp | \\"}, []),
    ],
)
async def test_each_condition_finds_what_it_says(
    stock: dict[str, str], shop: Api, conditions: dict[str, Any], expected: list[str]
) -> None:
    assert await found(shop, **conditions) == [stock[name] for name in expected]


@pytest.fixture(scope="module")
async def shops(service: Jobs) -> tuple[Tenant, Api, Api]:
    """A tenant, and the callers of two of its merchants."""
    tenant = await service.create_tenant()
    return tenant, (await tenant.create_merchant()).api, (await tenant.create_merchant()).api


@pytest.fixture(scope="module")
async def stock(shops: tuple[Tenant, Api, Api]) -> dict[str, str]:
    """The ids of two jobs (sofa, lamp) of one merchant. Another merchant has an equal job (sofa)."""
    tenant, api, other = shops
    await other.create_job({**smallest_job(), **SOFA})
    sofa = await api.create_job({**SOFA, "distribution_location_id": tenant.toronto})
    lamp = await api.create_job({**LAMP, "location_id": tenant.toronto})
    return {"sofa": sofa["id"], "lamp": lamp["id"]}


@pytest.fixture(scope="module")
async def shop(shops: tuple[Tenant, Api, Api], stock: dict[str, str]) -> Api:
    """The merchant of these two jobs."""
    return shops[1]


async def test_jobs_are_found_by_their_locations(
    shops: tuple[Tenant, Api, Api], stock: dict[str, str], shop: Api
) -> None:
    tenant = shops[0]
    sofa, lamp = stock["sofa"], stock["lamp"]

    assert await found(shop, location_id=[tenant.toronto]) == [lamp]
    assert await found(shop, location_id=[tenant.toronto, tenant.default_location]) == [lamp, sofa]
    assert await found(shop, distribution_location_id=[tenant.toronto]) == [sofa]
    assert await found(shop, distribution_location_id=[tenant.default_location, tenant.toronto]) == [sofa]
    assert await found(shop, distribution_location_id=[tenant.default_location, new_id("loc")]) == []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"shop": "7"}, ["sofa"]),
        ({"shop": "7", "note": "It's \\ here"}, ["sofa"]),
        ({"shop": "7", "note": "it's \\ HERE"}, []),
        ({"shop": "8", "note": "It's \\ here"}, []),
        ({"a": "b=c"}, ["sofa"]),
        ({"a=b": "c"}, ["lamp"]),
        ({"shop": ""}, []),
        ({}, ["lamp", "sofa"]),
    ],
)
async def test_metadata_is_found_by_its_exact_value(
    stock: dict[str, str], shop: Api, metadata: dict[str, str], expected: list[str]
) -> None:
    assert await shop.searched(metadata=metadata) == [stock[name] for name in expected]


async def test_administrators_search_all_merchants_or_one(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    first, second = await merchant.api.create_job(SOFA), await other.api.create_job(SOFA)

    for api in (
        await tenant.create_user("owner"),
        await tenant.create_user(permissions=["orders.jobs.read"]),
        service.platform(tenant),
    ):
        assert await found(api, tag=["fragile"]) == [second["id"], first["id"]]
        assert await found(api, tag=["fragile"], merchant_id=merchant.id) == [first["id"]]
        assert await found(api, q="canape", merchant_id=new_id("mer")) == []


async def test_no_condition_shows_a_merchant_rows_of_others(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    test = await tenant.create_merchant(livemode=False)
    job = await merchant.api.create_job({**SOFA, "distribution_location_id": tenant.toronto})
    stranger = await service.create_tenant()
    others = [
        other.api,
        await other.session(),
        test.api,
        await tenant.create_user("owner", livemode=False),
        (await stranger.create_merchant()).api,
        await stranger.create_user("owner"),
        service.platform(stranger),
    ]
    conditions: list[dict[str, Any]] = [
        {},
        {"reference_id": job["reference_id"]},
        {"status": ["new", "completed"]},
        {"type": ["pickup"]},
        {"location_id": [tenant.default_location]},
        {"distribution_location_id": [tenant.toronto]},
        {"contact_name": "zoe"},
        {"phone": "+15145550142"},
        {"email": "zoe.lecuyer@example.com"},
        {"postal_code": "H2X 1L4"},
        {"invoice": "F-9"},
        {"barcode": "A-77"},
        {"tag": ["fragile"]},
        {"sku": "S-1"},
        {"external_reference_id": "ext:1|2"},
        {"q": "canape ecuyer"},
        {"sort": "scheduled_date"},
        {"sort": "-updated_at", "created_gte": "2020-01-01T00:00:00Z"},
        {"deleted": True},
    ]

    for condition in conditions:
        for api in others:
            listed: dict[str, Any] = {
                name: str(value).lower() if value is True else value for name, value in condition.items()
            }
            assert await api.listed(**listed) == [], condition
            assert await api.searched(**condition) == [], condition
        if condition != {"deleted": True}:
            assert await found(merchant.api, **condition) == [job["id"]], condition
    for api in others:
        assert await api.searched(metadata={"shop": "7"}) == []


async def test_a_merchant_cannot_filter_by_merchant(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    for api in (merchant.api, await merchant.session()):
        listed = await api.get("/v1/jobs", params={"merchant_id": merchant.id})
        searched = await api.post("/v1/jobs/search", {"merchant_id": merchant.id})

        assert (listed.status_code, listed.json()["errors"][0]["parameter"]) == (422, "merchant_id")
        assert (searched.status_code, searched.json()["errors"][0]["pointer"]) == (422, "/merchant_id")


async def test_times_narrow_a_search_and_belong_to_it(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    first, second, third = [await api.create_job() for _ in range(3)]
    middle = second["created_at"]

    for name in ("created", "updated", "status_changed"):
        assert await found(api, **{f"{name}_gte": middle}) == [third["id"], second["id"]]
        assert await found(api, **{f"{name}_lte": middle}) == [second["id"], first["id"]]
        assert await found(api, **{f"{name}_gte": middle, f"{name}_lte": middle}) == [second["id"]]


async def test_what_a_change_brings_is_found_and_what_it_takes_is_not(tenant: Tenant) -> None:
    merchant, dispatch = await tenant.create_merchant(), await tenant.create_user("owner")
    api = merchant.api
    job = await api.create_job(SOFA)
    before = datetime.now(UTC).isoformat()

    await api.request("PATCH", f"/v1/jobs/{job['id']}", json={"tags": ["new one"], "contact": {"last_name": "Roy"}})
    assigned = await dispatch.post(f"/v1/jobs/{job['id']}/assign", {"assigned_to": "Truck 9"})

    assert assigned.status_code == 200, assigned.text
    assert await found(api, tag=["new one"]) == [job["id"]]
    assert await found(api, contact_name="zoe roy") == [job["id"]]
    assert await found(api, assigned_to="truck 9") == [job["id"]]
    assert await found(api, updated_gte=before) == [job["id"]]
    assert await found(api, tag=["fragile"]) == []
    assert await found(api, contact_name="l'ecuyer") == []
    assert await found(api, created_gte=before) == []


async def test_deleted_jobs_are_a_set_of_their_own(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    kept, deleted = await api.create_job(SOFA), await api.create_job(LAMP)
    assert (await api.request("DELETE", f"/v1/jobs/{deleted['id']}")).status_code == 204

    assert await found(api) == [kept["id"]]
    assert await found(api, tag=["fragile"]) == [kept["id"]]
    assert await api.listed(deleted="false") == [kept["id"]]
    assert await api.searched(deleted=False) == [kept["id"]]
    for conditions in ({}, {"tag": ["fragile"]}, {"q": "lampadaire"}, {"sort": "scheduled_date"}):
        assert await api.listed(deleted="true", **conditions) == [deleted["id"]]
        assert await api.searched(deleted=True, **conditions) == [deleted["id"]]
    assert await api.searched(deleted=True, contact_name="zoe") == []


async def test_jobs_are_sorted_as_asked(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    dates = ["2030-03-01", None, "2030-01-01", "9000-12-31", "2030-03-01", None]
    jobs = [(await api.create_job(smallest_job(scheduled_date=day)))["id"] for day in dates]
    a, b, c, d, e, f = jobs
    changed = await api.request("PATCH", f"/v1/jobs/{b}", json={"priority": 5})
    assert changed.status_code == 200, changed.text
    dated = [c, *sorted([a, e]), d]

    for limit in (1, 2, 200):
        assert await found(api, sort="created_at", limit=limit) == jobs
        assert await found(api, sort="-created_at", limit=limit) == jobs[::-1]
        assert await found(api, sort="updated_at", limit=limit) == [a, c, d, e, f, b]
        assert await found(api, sort="-updated_at", limit=limit) == [b, f, e, d, c, a]
        by_date = await found(api, sort="scheduled_date", limit=limit)
        assert (by_date[:4], set(by_date[4:])) == (dated, {b, f})
        assert await found(api, sort="-scheduled_date", limit=limit) == by_date[::-1]
        assert await found(api, sort="-scheduled_date", scheduled_date_gte="2030-01-02", limit=limit) == dated[:0:-1]


async def test_text_of_any_length_is_found(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    long_value, long_word = "é" * 500, "Donaudampfschifffahrtsgesellschaftskapitänsmützen"
    job = await api.create_job(
        smallest_job(metadata={"k" * 40: long_value}, reference_id="r" * 255, short_description=long_word)
    )
    await api.create_job(smallest_job(metadata={"k" * 40: long_value[1:]}, reference_id="r" * 254))

    assert await api.searched(metadata={"k" * 40: long_value}) == [job["id"]]
    assert await found(api, reference_id="r" * 255) == [job["id"]]
    assert await found(api, q=long_word.upper()) == [job["id"]]


SPLIT = ["qwertyXX", "XXrtyuio", "mnopXX", "XXnopq"]
NUMBERS: dict[str, Any] = {
    "reference_id": "Adalovelace 7",
    "contact": {"first_name": "Adalovic", "last_name": "Достоевский", "company": "a|b & Sons"},
    "barcodes": ["abcdefXX", "XXghijkl", "1234x", "x2345", "0" * 60 + "7" * 40, *SPLIT],
    "invoices": ["\u0301", "adalovic-numbers"],
}


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({"q": "bcde"}, True),
        ({"q": "cdefx"}, True),
        ({"q": "bcdefx"}, True),
        ({"q": "bcdefxx"}, True),
        ({"q": "bcd"}, True),
        # All of its n-grams are there, but not together.
        ({"q": "abcdefghijkl"}, False),
        ({"q": "qwertyuio"}, False),
        ({"q": "mnopq"}, False),
        ({"q": "12345"}, False),
        ({"q": "1234"}, True),
        ({"q": "достоев"}, True),
        ({"q": "СТОЕВ"}, True),
        ({"q": "тоевск"}, True),
        ({"q": "оев"}, True),
        ({"q": "стоевск"}, True),
        ({"q": "стоевкс"}, False),
        ({"q": "0" * 50 + "7" * 10}, True),
        ({"q": "0" * 30 + "7" * 9}, True),
        ({"q": "0" * 9 + "8"}, False),
        ({"q": "lovelace 7 cdefxx"}, True),
        ({"contact_name": "adalovic"}, True),
        ({"contact_name": "Adalovic Досто"}, True),
        ({"contact_name": "adalov"}, True),
        ({"contact_name": "adalovix"}, False),
        ({"contact_name": "adal"}, True),
        ({"contact_name": "дос"}, True),
        # A name contains it, but does not begin with it.
        ({"contact_name": "lovic"}, False),
        ({"contact_name": "sons"}, False),
        ({"contact_name": "a|b"}, True),
        ({"contact_name": "a"}, True),
        # A number begins with it, no name does.
        ({"contact_name": "adalovelace"}, False),
        ({"contact_name": "adalovic-numbers"}, False),
        ({"contact_name": "a|b & so"}, True),
        ({"contact_name": "b & sons"}, False),
    ],
)
async def test_a_part_of_a_word_is_found_as_one_substring(
    tenant: Tenant, conditions: dict[str, Any], matches: bool
) -> None:
    api = (await tenant.create_merchant()).api
    job = await api.create_job({**smallest_job(), **NUMBERS})

    assert await found(api, **conditions) == ([job["id"]] if matches else [])


async def test_as_many_numbers_as_there_may_be_are_found_by_their_parts(tenant: Tenant) -> None:
    def number(seed: int) -> str:
        # Characters of four bytes, so that tokens are as long as possible, never the same one twice in a row.
        return "".join(chr(0x20000 + (seed * 7919 + place * 104729) % 40_000) for place in range(100))

    api = (await tenant.create_merchant()).api
    numbers = [number(seed) for seed in range(300)]
    actions = [{"sku": number(1000 + seed), "barcode": number(2000 + seed)} for seed in range(100)]
    job = await api.create_job(smallest_job(invoices=numbers[:100], barcodes=numbers[100:], actions=actions))

    assert await found(api, q=numbers[250][40:60]) == [job["id"]]
    assert await found(api, sku=actions[99]["sku"]) == [job["id"]]
    assert await found(api, barcode=numbers[299]) == [job["id"]]


@pytest.mark.parametrize(
    ("conditions", "place"),
    [
        ({"colour": "red"}, "colour"),
        ({"status": ["done"]}, "status.0"),
        ({"status": [""]}, "status"),
        ({"status": ["new"] * 51}, "status"),
        ({"type": ["new"]}, "type.0"),
        ({"location_id": ["mer_01h455vb4pex5vsknk084sn02q"]}, "location_id.0"),
        ({"location_id": [new_id("loc") for _ in range(51)]}, "location_id"),
        ({"distribution_location_id": [" "]}, "distribution_location_id"),
        ({"merchant_id": "x"}, "merchant_id"),
        ({"reference_id": ""}, "reference_id"),
        ({"reference_id": "r" * 256}, "reference_id"),
        ({"contact_name": "  "}, "contact_name"),
        ({"contact_name": "\u0301"}, "contact_name"),
        ({"phone": ""}, "phone"),
        ({"phone": "514 555 0142"}, "phone"),
        ({"email": "nobody"}, "email"),
        ({"postal_code": ""}, "postal_code"),
        ({"invoice": "x" * 101}, "invoice"),
        ({"tag": ["a", ""]}, "tag"),
        ({"tag": [f"{number}" for number in range(51)]}, "tag"),
        ({"sku": "\t"}, "sku"),
        ({"assigned_to": ""}, "assigned_to"),
        ({"created_gte": "yesterday"}, "created_gte"),
        ({"created_gte": "1700000000"}, "created_gte"),
        ({"created_gte": "2030-01-02T00:00:00Z", "created_lte": "2030-01-01T00:00:00Z"}, "created_lte"),
        ({"updated_gte": "2030-01-02T00:00:00Z", "updated_lte": "2030-01-01T00:00:00Z"}, "updated_lte"),
        (
            {"status_changed_gte": "2030-01-02T00:00:00Z", "status_changed_lte": "2030-01-01T00:00:00Z"},
            "status_changed_lte",
        ),
        ({"scheduled_date_gte": "2030-01-02", "scheduled_date_lte": "2030-01-01"}, "scheduled_date_lte"),
        ({"scheduled_date_gte": "2030-01-02T00:00:00Z"}, "scheduled_date_gte"),
        ({"deleted": "yes"}, "deleted"),
        ({"deleted": "1"}, "deleted"),
        ({"sort": "priority"}, "sort"),
        ({"sort": ""}, "sort"),
        ({"q": ""}, "q"),
        ({"q": "?! —"}, "q"),
        ({"q": "q" * 201}, "q"),
        ({"q": "a b c d e f g h i j k"}, "q"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"cursor": "c" * 1025}, "cursor"),
    ],
)
async def test_an_invalid_condition_is_refused_with_its_name(shop: Api, conditions: dict[str, Any], place: str) -> None:
    listed = await shop.get("/v1/jobs", params=conditions)
    searched = await shop.post("/v1/jobs/search", conditions)

    assert (listed.status_code, listed.json()["errors"][0]["parameter"]) == (422, place)
    pointer = "/" + place.replace(".", "/")
    assert (searched.status_code, searched.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"metadata": {"": "x"}}, "/metadata/"),
        ({"metadata": {"shop": 7}}, "/metadata/shop"),
        ({"metadata": {str(number): "x" for number in range(51)}}, "/metadata"),
        ({"status": "new"}, "/status"),
        ({"tag": "fragile"}, "/tag"),
        ({"limit": "50"}, "/limit"),
        ({"deleted": "true"}, "/deleted"),
        ({"created_gte": 1700000000}, "/created_gte"),
        ({"phone": 15145550142}, "/phone"),
    ],
)
async def test_a_body_has_the_types_that_it_says(shop: Api, body: dict[str, Any], pointer: str) -> None:
    answer = await shop.post("/v1/jobs/search", body)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_control_characters_in_a_query_are_refused(shop: Api) -> None:
    for name in ("reference_id", "q", "tag", "contact_name", "invoice"):
        answer = await shop.get(f"/v1/jobs?{name}=a%00b")

        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, name)


@settings(max_examples=300 * FACTOR, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=some.lists(some.text(some.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=120), max_size=4),
    asked=some.text(some.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=120),
)
async def test_any_value_is_found_by_its_token_and_by_no_other(service: Jobs, kept: list[str], asked: str) -> None:
    filed = [tokens.token("t", value) for value in kept]

    assert await _filed_under(service, [*filed, tokens.token("t", asked)], [[tokens.token("t", asked)]])
    assert await _filed_under(service, filed, [[tokens.token("t", asked)]]) == (tokens.token("t", asked) in filed)
    assert await _filed_under(service, filed, [[term, "t:none"] for term in filed] or [["t:none"]]) == bool(filed)


async def _filed_under(service: Jobs, filed: list[str], asked: list[list[str]]) -> bool:
    statement = text("SELECT array_to_tsvector(CAST(:filed AS text[])) @@ CAST(CAST(:asked AS text) AS tsquery)")
    async with service.database.reading() as session:
        answer = await session.execute(statement, {"filed": filed, "asked": as_tsquery(asked)})
        return bool(answer.scalar_one())


async def test_a_search_takes_what_a_list_takes(service: Jobs) -> None:
    document = (await service.client.get("/openapi.json")).json()

    for path in ("/v1/jobs", "/v1/actions"):
        # What every route takes stands elsewhere, and is only named here.
        listed = {one["name"] for one in document["paths"][path]["get"]["parameters"] if "name" in one}
        reference = document["paths"][f"{path}/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        body = document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
        assert listed == set(body["properties"]) - {"metadata"}
        assert body["additionalProperties"] is False


async def test_an_instant_has_its_zone_and_is_compared_as_one(tenant: Tenant) -> None:
    api = (await tenant.create_merchant()).api
    job = await api.create_job()
    created = datetime.fromisoformat(job["created_at"])
    elsewhere = (
        created.astimezone().isoformat()
        if created.tzinfo is None
        else f"{created + timedelta(hours=5):%Y-%m-%dT%H:%M:%S.%f}+05:00"
    )

    assert await found(api, created_gte=elsewhere, created_lte=elsewhere) == [job["id"]]
    assert (await api.get("/v1/jobs", params={"created_gte": "2030-01-01T00:00:00"})).status_code == 422
