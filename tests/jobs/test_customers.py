"""Customers: the list, and erasures of personal data."""

import json
from typing import Any

from sqlalchemy import text

from jobs.customers import operations, queries
from jobs.customers.schemas import CustomerFilters
from shared.access.principals import Caller, Principal
from shared.events.jobs import JobUpdated
from shared.ids import to_uuid
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant

ADA = {"first_name": "Ada", "last_name": "Lovelace", "phone": "+15145550100", "email": "ada@example.com"}
GRACE = {"first_name": "Grace", "company": "Navy", "email": "Grace@example.com"}
NAMED = {"first_name": "Jean", "last_name": "Hébert"}


async def administrator(tenant: Tenant, **more: Any) -> Api:
    """An owner of the tenant."""
    return await tenant.create_user("owner", scopes=["orders", "customers", "reports"], **more)


async def listed(api: Api, query: str = "", *, limit: int = 200) -> list[dict[str, Any]]:
    """The whole list, read page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await api.get(f"/v1/customers?limit={limit}{query and '&' + query}{cursor and '&cursor=' + cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = page["next_cursor"]


async def erased(api: Api, **asked: Any) -> int:
    """The number of erased jobs."""
    answer = await api.post("/v1/customers/erase", asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["has_more"] is False
    count: int = answer.json()["jobs_erased"]
    return count


async def stored(service: Jobs, tenant: Tenant) -> str:
    """All rows of the tenant's jobs in the service's tables, as one text."""
    statement = text(
        """
        SELECT coalesce(string_agg(line, ' '), '') FROM (
            SELECT row_to_json(jobs)::text AS line FROM jobs WHERE tenant_id = :tenant_id
            UNION ALL SELECT row_to_json(actions)::text FROM actions WHERE tenant_id = :tenant_id
            UNION ALL SELECT row_to_json(job_history)::text FROM job_history
            WHERE job_id IN (SELECT id FROM jobs WHERE tenant_id = :tenant_id)
        ) AS lines
        """
    )
    async with service.database.reading() as session:
        return str((await session.execute(statement, {"tenant_id": to_uuid(tenant.id)})).scalar_one())


async def test_a_customer_is_listed_once_with_its_latest_contact(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    first = await merchant.api.create_job(smallest_job(contact=ADA))
    last = await other.api.create_job(smallest_job(contact={**ADA, "first_name": "Augusta"}))
    await merchant.api.create_job(smallest_job(contact=GRACE))
    await merchant.api.create_job(smallest_job(contact=NAMED))
    await merchant.api.create_job(smallest_job(contact={"first_name": "JEAN", "last_name": "Hebert"}))

    found = {one["contact"]["first_name"]: one for one in await listed(await administrator(tenant))}

    assert found.keys() == {"Augusta", "Grace", "JEAN"}
    augusta = found["Augusta"]
    assert augusta.pop("id").startswith("cus_")
    assert augusta == {
        "object": "customer",
        "contact": last["contact"],
        "jobs_count": 2,
        "first_job_at": first["created_at"],
        "last_job_at": last["created_at"],
    }
    assert found["JEAN"]["jobs_count"] == 2


async def test_pages_of_customers_continue_and_their_cursors_reveal_nothing(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    for number in range(7):
        for _ in range(1 + number % 2):
            await merchant.api.create_job(smallest_job(contact={"phone": f"+1514555010{number}"}))

    everybody = await listed(api)

    assert [one["contact"]["phone"] for one in everybody] == [f"+1514555010{number}" for number in range(7)]
    for limit in (1, 3, 6, 7):
        assert await listed(api, limit=limit) == everybody
    page = await api.read("/v1/customers?limit=1")
    assert "5550100" not in page["next_cursor"] + page["data"][0]["id"]
    differing = await api.get(f"/v1/customers?limit=1&name=ada&cursor={page['next_cursor']}")
    assert (differing.status_code, differing.json()["code"]) == (400, "cursor_filters_differ")


async def test_a_customer_may_have_the_longest_of_names(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    syllables = "".join(chr(0xAC00 + 7 * number) for number in range(400))
    named = {"first_name": syllables[:100], "last_name": syllables[100:200], "company": syllables[200:]}
    for contact in (named, {"first_name": "Ada"}, {"email": f"{'a' * 60}@{'b' * 60}.{'c' * 60}.example.com"}):
        await merchant.api.create_job(smallest_job(contact=contact))

    everybody = await listed(api, limit=1)

    assert len(everybody) == 3
    for customer in everybody:
        assert await erased(api, customer_id=customer["id"]) == 1


async def test_customers_are_found_by_phone_email_and_the_beginning_of_a_name(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    for contact in (ADA, GRACE, NAMED):
        await merchant.api.create_job(smallest_job(contact=contact))

    async def names(query: str) -> list[str]:
        return [one["contact"]["first_name"] for one in await listed(api, query)]

    assert await names("phone=%2B1 514 555-0100") == ["Ada"]
    assert await names("phone=%2B15145550199") == []
    assert await names("email=ADA@example.com") == ["Ada"]
    assert await names("email=grace@Example.com") == ["Grace"]
    assert await names("name=herb") == []
    assert await names("name=heb") == ["Jean"]
    assert await names("name=Lovelace") == ["Ada"]
    assert await names("name=nav&email=grace@example.com") == ["Grace"]
    assert await names("name=ada&email=grace@example.com") == []
    assert await names("name=%25%25%25") == []
    for query in ("phone=5550100", "email=ada", "name=ad", "nom=Ada", "limit=0"):
        assert (await api.get(f"/v1/customers?{query}")).status_code == 422, query


async def test_customers_are_for_administrators_of_their_own_tenant(service: Jobs, tenant: Tenant) -> None:
    merchant, stranger = await tenant.create_merchant(), await service.create_tenant()
    await merchant.api.create_job(smallest_job(contact=ADA))
    reader = await tenant.create_user(permissions=["customers.read"], scopes=["customers"])
    orders = await tenant.create_user(permissions=["orders"], scopes=["orders", "customers"])
    test_owner, outsider = await administrator(tenant, livemode=False), await administrator(stranger)
    customer = (await listed(reader))[0]
    ada = {"phone": ADA["phone"]}

    for api in (merchant.api, await merchant.session(), orders):
        assert (await api.get("/v1/customers")).status_code == 403
        assert (await api.post("/v1/customers/erase", ada)).status_code == 403
    assert (await reader.post("/v1/customers/erase", ada)).status_code == 403
    for api in (test_owner, outsider):
        assert await listed(api) == []
        assert await erased(api, **ada) == 0
        refused = await api.post("/v1/customers/erase", {"customer_id": customer["id"]})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/customer_id")
    assert await listed(reader) == [customer]


async def test_an_erasure_must_name_a_customer(tenant: Tenant) -> None:
    api = await administrator(tenant)

    for body in ({}, {"phone": None}, {"phone": "514"}, {"email": "ada"}, {"customer_id": "cus_1"}, {"name": "Ada"}):
        answer = await api.post("/v1/customers/erase", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), body
    assert await erased(api, phone="+15145550100") == 0


async def test_nothing_personal_is_left_after_an_erasure(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    stop = {"name": "Depot", "address": {"raw": "5 Lovelace Street"}, "instructions": "Ask for Lovelace"}
    actions = [{"type": "pickup", "stop": stop, "sku": "S-1"}, {"description": "Sofa", "barcode": "B-1"}]
    address = {
        "line1": "1 Lovelace Street",
        "city": "Montréal",
        "region": "QC",
        # These texts occur nowhere else: no id has an L, and no instant has 81 seconds.
        "postal_code": "H2L 1Y4",
        "country": "CA",
    }
    kept = {"reference_id": "R-1", "tags": ["fragile"], "metadata": {"order": "7"}, "invoices": ["I-1"]}
    body = smallest_job(
        contact=ADA,
        address=address,
        geo={"latitude": 81.5, "longitude": -73.5},
        instructions="Ring for Lovelace",
        short_description="Sofa for Lovelace",
        actions=actions,
        **kept,
    )
    job, bystander = await merchant.api.create_job(body), await merchant.api.create_job(smallest_job(contact=GRACE))
    assert (await api.post(f"/v1/jobs/{job['id']}/cancel", {"reason": "Lovelace moved"})).status_code == 200

    assert await erased(api, phone="+1 514 555 0100") == 1

    now = await merchant.api.read(f"/v1/jobs/{job['id']}")
    assert set(now["contact"].values()) == {None}
    assert {name: value for name, value in now["address"].items() if value} == {"region": "QC", "country": "CA"}
    assert [now[name] for name in ("geo", "instructions", "short_description", "status_reason")] == [None] * 4
    assert [(action["stop"], action["sku"], action["barcode"]) for action in now["actions"]] == [
        (None, "S-1", None),
        (None, None, "B-1"),
    ]
    assert {name: now[name] for name in kept} == kept
    assert (now["status"], now["version"]) == ("cancelled", 3)
    assert now["erased_at"] == now["updated_at"]
    everything = await stored(service, tenant)
    for trace in ("lovelace", "5550100", "ada@", "depot", "street", "h2l", "81.5"):
        assert trace not in everything.lower(), trace
    assert [one["contact"]["first_name"] for one in await listed(api)] == ["Grace"]
    assert (await merchant.api.read(f"/v1/jobs/{bystander['id']}")) == bystander
    # A second erasure finds no jobs.
    assert await erased(api, phone=ADA["phone"], email=ADA["email"]) == 0


async def test_an_erased_job_is_found_by_its_numbers_and_by_nothing_personal(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    job = await merchant.api.create_job(smallest_job(contact=ADA, reference_id="R-1", instructions="Ada"))
    await erased(api, email="ADA@EXAMPLE.COM")

    async def ids(query: str) -> list[str]:
        answer = await merchant.api.get(f"/v1/jobs?{query}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["data"]]

    assert await ids("reference_id=R-1") == [job["id"]]
    assert await ids("q=R-1") == [job["id"]]
    for query in ("q=lovelace", "q=Sherbrooke", "q=5145550100", "phone=%2B15145550100", "email=ada@example.com"):
        assert await ids(query) == [], query


async def test_former_contacts_are_erased_from_history(service: Jobs, tenant: Tenant) -> None:
    merchant, office = await tenant.create_merchant(), await administrator(tenant)
    for erasing in ({"phone": ADA["phone"]}, {"email": ADA["email"]}):
        job = await merchant.api.create_job(smallest_job(contact=ADA))
        changed = await merchant.api.request(
            "PATCH", f"/v1/jobs/{job['id']}", json={"contact": dict.fromkeys(ADA) | GRACE}
        )
        assert changed.status_code == 200, changed.text

        assert await erased(office, **erasing) == 0

        assert "Lovelace" not in await stored(service, tenant)
        assert (await merchant.api.read(f"/v1/jobs/{job['id']}"))["contact"]["first_name"] == "Grace"


async def test_deleted_jobs_and_deleted_actions_are_erased_too(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    stop = {"name": "Depot", "address": {"raw": "5 Lovelace Street"}}
    deleted = await merchant.api.create_job(smallest_job(contact=ADA, actions=[{"type": "pickup", "stop": stop}]))
    job = await merchant.api.create_job(smallest_job(contact=ADA, actions=[{"type": "pickup", "stop": stop}]))
    paths = (f"/v1/jobs/{deleted['id']}", f"/v1/jobs/{job['id']}/actions/{job['actions'][0]['id']}")
    for path in paths:
        assert (await merchant.api.request("DELETE", path)).status_code == 204

    (customer,) = await listed(api)
    assert customer["jobs_count"] == 1
    assert await erased(api, customer_id=customer["id"]) == 2

    everything = (await stored(service, tenant)).lower()
    assert "lovelace" not in everything
    assert "depot" not in everything
    restored = await merchant.api.post(f"/v1/jobs/{deleted['id']}/restore")
    assert restored.status_code == 200
    assert (restored.json()["contact"]["phone"], restored.json()["actions"][0]["stop"]) == (None, None)
    assert await listed(api) == []


async def test_an_erasure_is_published_and_in_history_without_values(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    job = await merchant.api.create_job(smallest_job(contact=ADA))
    changed = await merchant.api.request("PATCH", f"/v1/jobs/{job['id']}", json={"instructions": "Ring twice"})
    assert changed.status_code == 200

    await erased(api, phone=ADA["phone"])

    published = (await tenant.service.published(tenant, 3))[-1]
    assert isinstance(published, JobUpdated)
    assert published.data.changed_fields == ["address", "contact", "erased_at", "instructions"]
    assert (published.data.sequence, published.data.job.erased_at) == (3, published.time)
    content = published.value().decode().lower()
    assert "lovelace" not in content
    assert "sherbrooke" not in content
    history = (await api.read(f"/v1/jobs/{job['id']}/events"))["data"]
    assert [line["type"] for line in history] == ["job.created", "job.updated", "job.updated"]
    assert "Ring" not in json.dumps(history)
    assert "Lovelace" not in json.dumps(history)


async def test_outcomes_keep_their_counts_and_lose_their_notes(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    job = await merchant.api.create_job(smallest_job(contact=ADA, actions=[{"quantity": 3}]))
    path = f"/v1/jobs/{job['id']}"
    assert (await api.post(f"{path}/start")).status_code == 200
    for outcome in (
        {"completed": 3, "note": "Lovelace signed"},
        {"completed": 2, "damaged": 1, "note": "Lovelace wept"},
    ):
        answer = await api.post(f"{path}/actions/{job['actions'][0]['id']}/outcome", outcome)
        assert answer.status_code == 200, answer.text

    assert await erased(api, phone=ADA["phone"]) == 1

    (action,) = (await api.read(path))["actions"]
    assert action["outcome"] == {"completed": 2, "incomplete": 0, "damaged": 1, "note": None}
    assert "lovelace" not in (await stored(service, tenant)).lower()
    recorded = [line for line in (await api.read(f"{path}/events"))["data"] if line["action_id"]]
    assert [line["changes"]["outcome"]["to"]["completed"] for line in recorded] == [3, 2]


async def test_addresses_that_differ_in_accents_are_different(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    await merchant.api.create_job(smallest_job(contact={"email": "rene@example.com"}))
    other = await merchant.api.create_job(smallest_job(contact={"email": "rené@example.com"}))

    assert await erased(api, email="RENE@example.com") == 1

    assert (await merchant.api.read(f"/v1/jobs/{other['id']}")) == other


async def test_an_erasure_goes_on_until_nothing_is_left(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    count = operations.ERASED_JOBS_MAX + 1
    await merchant.api.create_job(smallest_job(contact=ADA, actions=[{"sku": "S-1"}]))
    await multiply(service, tenant, count - 1, customers=1)

    answers = [(await api.post("/v1/customers/erase", {"email": ADA["email"]})).json() for _ in range(3)]

    assert [(one["jobs_erased"], one["has_more"]) for one in answers] == [(500, True), (1, False), (0, False)]
    assert await listed(api) == []


async def test_a_page_of_customers_costs_the_same_among_many_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job(smallest_job(contact=ADA))
    await multiply(service, tenant, 20_000, customers=100)
    caller = Caller("owner", "session", Principal(tenant_id=tenant.id), frozenset(), livemode=True)
    statement = queries.page_statement(caller, CustomerFilters(), "", 51)

    plan = await explained(service, statement)

    touched = list(scans(plan))
    assert {node["Index Name"] for node in touched} == {"ix_jobs_of_customer"}
    look_ups = sum(node["Actual Loops"] for node in touched)
    rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in touched)
    assert look_ups <= 4 * 51 + 1
    assert rows <= 51 * (3 + 201) + 1
    assert (await listed(await administrator(tenant)))[0]["jobs_count"] == 201


async def multiply(service: Jobs, tenant: Tenant, count: int, *, customers: int) -> None:
    """Copy the tenant's only job `count` times, for this number of customers. The first customer keeps its key."""
    async with service.database.transaction() as session:
        columns = (
            await session.execute(
                text(
                    """SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'jobs'::regclass
                    AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('id', 'customer_key')"""
                )
            )
        ).scalar_one()
        await session.execute(
            text(
                f"""INSERT INTO jobs (id, customer_key, {columns})
                SELECT gen_random_uuid(), CASE WHEN :customers > 1 AND number % :customers > 0
                    THEN 'p:+1514556' || lpad((number % :customers)::text, 4, '0') ELSE customer_key END, {columns}
                FROM jobs, generate_series(1, :count) AS number WHERE tenant_id = :tenant_id"""
            ),
            {"count": count, "customers": customers, "tenant_id": to_uuid(tenant.id)},
        )
    async with service.database.reading() as session:
        await session.execute(text("VACUUM ANALYZE jobs"))


async def explained(service: Jobs, statement: Any) -> dict[str, Any]:
    """The plan of a statement, from EXPLAIN ANALYZE."""
    compiled = statement.compile(service.database.engine, compile_kwargs={"literal_binds": True})
    async with service.database.reading() as session:
        connection = await session.connection()
        found = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}")
        document = found.scalar_one()
    plan: dict[str, Any] = (json.loads(document) if isinstance(document, str) else document)[0]["Plan"]
    return plan


def scans(node: dict[str, Any]) -> Any:
    """The nodes of a plan that read the table of jobs."""
    if node.get("Relation Name") == "jobs":
        yield node
    for child in node.get("Plans", ()):
        yield from scans(child)
