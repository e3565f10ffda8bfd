"""Jobs in the console without a script: the list, one job from its form to its end, changes of two people, imports, reports."""

import csv
import io
import re
from typing import Any

import asyncpg
import httpx
import pytest

from shared.ids import to_uuid
from tests.harness.bodies import smallest_job
from tests.harness.console import ConsoleStack, Stock, Visitor, text_of
from tests.harness.people import Merchant, Tenant
from tests.harness.suite import Suite
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
async def merchant(tenant: Tenant) -> Merchant:
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    return merchant


@pytest.fixture(scope="module")
async def owner(console: ConsoleStack, tenant: Tenant, merchant: Merchant) -> Visitor:
    return await console.signed_in(tenant.id, tenant.owner_email)


async def created(merchant: Merchant, **more: Any) -> dict[str, Any]:
    return await merchant.api.at("jobs").create("/v1/jobs", smallest_job(**more))


async def upload(
    visitor: Visitor, action: str, content: bytes, *, name: str = "jobs.csv", **fields: str
) -> httpx.Response:
    """Send a file from the page of imports, as a browser does: the fields first."""
    token = re.search(r'name="form_token" value="([^"]+)"', (await visitor.get("/imports/new")).text)
    assert token is not None
    sent = {"form_token": token[1], "idempotency_key": f"key-{action}", **fields}
    parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in sent.items()]
    return await visitor.client.post(action, files=[*parts, ("file", (name, content, "text/csv"))])


async def test_a_job_is_created_dispatched_and_completed_by_forms(owner: Visitor, merchant: Merchant) -> None:
    fields = {
        "/merchant_id": merchant.id,
        "/type": "delivery",
        "/reference_id": "C-1",
        "/scheduled_date": "2030-01-31",
        "/time_window/start": "08:00",
        "/time_window/end": "12:00",
        "/contact/first_name": "Ada",
        "/contact/phone": "514",
        "/address/raw": "1 Rue X",
        "/balance_owed/amount": "49,99",
        "/balance_owed/currency": "CAD",
        "/tags": "fragile, stairs",
        "/metadata": "gate = 7",
        "/actions/1/description": "Sofa",
        "/actions/1/quantity": "2",
    }
    refused = await owner.send("/jobs/new", "/jobs/new", fields)
    assert refused.status_code == 422
    assert 'href="#field-contact-phone"' in refused.text
    assert 'value="49,99"' in refused.text

    made = await owner.send("/jobs/new", "/jobs/new", {**fields, "/contact/phone": "+15145550100"})

    assert made.status_code == 303, made.text
    job_id = made.headers["location"].removeprefix("/jobs/")
    job = await merchant.api.at("jobs").read(f"/v1/jobs/{job_id}")
    assert job["balance_owed"] == {"amount": 4999, "currency": "CAD"}
    assert (job["tags"], job["metadata"]) == (["fragile", "stairs"], {"gate": "7"})
    assert [(action["description"], action["quantity"]) for action in job["actions"]] == [("Sofa", 2)]

    page = f"/jobs/{job_id}"
    assert "Complete" not in text_of(await owner.get(page))
    assert (await owner.send(page, f"{page}/commands/start", {})).status_code == 303
    action = f"{page}/actions/{job['actions'][0]['id']}/outcome"
    wrong = await owner.send(page, action, {"/completed": "1", "/incomplete": "0", "/damaged": "0"})
    assert wrong.status_code == 422
    right = {"/completed": "1", "/incomplete": "1", "/damaged": "0", "/note": "one was broken"}
    assert (await owner.send(page, action, right)).status_code == 303
    assert (await owner.send(page, f"{page}/commands/complete", {})).status_code == 303

    shown = text_of(await owner.get(page))
    assert "Partially completed" in shown
    assert "completed 1 · incomplete 1 · damaged 0 · “one was broken”" in shown
    assert "job.partially_completed" in shown
    again = await owner.send(page, f"{page}/commands/start", {})
    assert again.status_code == 409
    assert "does not allow start" in text_of(again)


async def test_the_list_filters_keeps_views_and_gives_a_file(owner: Visitor, merchant: Merchant) -> None:
    wanted = await created(merchant, reference_id="L-wanted", type="pickup")
    other = await created(merchant, reference_id="L-other")

    found = await owner.get("/jobs?type=pickup")

    assert "L-wanted" in found.text
    assert "L-other" not in found.text
    assert "Type: Pickup" in text_of(found)
    assert (await owner.send("/jobs", "/jobs/views", {"name": "Ramassage", "query": "type=pickup"})).status_code == 303
    views = await owner.get("/jobs")
    assert 'href="/jobs?type=pickup">Ramassage</a>' in views.text
    file = await owner.get("/jobs/export.csv?type=pickup")
    assert file.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"), newline="")))
    assert [row["id"] for row in rows] == [wanted["id"]]
    news = await owner.get(f"/jobs/news?since={other['created_at'].replace('+', '%2B')}")
    assert "1 new – show" in text_of(news)
    chosen = {"command": "start", "job": [wanted["id"], other["id"]], "query": ""}
    done = await owner.send("/jobs", "/jobs/chosen", chosen)
    assert done.status_code == 303
    assert "2 jobs done." in text_of(await owner.get("/jobs"))


async def test_all_jobs_that_match_are_cancelled_after_a_dry_run_and_refusals_have_their_reason(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    # Jobs knows the merchant when it knows its key.
    await merchant.reveal()
    jobs = tenant.owner.at("jobs")
    made = [
        await jobs.create("/v1/jobs", smallest_job(merchant_id=merchant.id, type=kind))
        for kind in ("pickup", "pickup", "pickup", "delivery")
    ]
    for command in ("start", "complete"):
        await jobs.post(f"/v1/jobs/{made[0]['id']}/{command}")
    owner = await console.signed_in(tenant.id, tenant.owner_email)

    async def page_of(path: str, wanted: str) -> str | None:
        said = text_of(await owner.get(path))
        return said if wanted in said else None

    tried = await owner.send("/jobs", "/bulk/jobs", {"command": "cancel", "query": "type=pickup"})
    path = tried.headers["location"]
    said = await eventually(lambda: page_of(path, "2 would be changed."), what="the dry run has ended")
    between = [(await jobs.read(f"/v1/jobs/{one['id']}"))["status"] for one in made]
    fields = {"/reason": "Strike", "idempotency_key": "of-this-test"}
    run, twice = [await owner.send(path, f"{path}/run", fields) for _ in range(2)]
    done = run.headers["location"]
    after = await eventually(lambda: page_of(done, "2 were changed."), what="it is done")
    late = await owner.send(done, f"{done.partition('?')[0]}/cancel", {})
    told = text_of(await owner.get(late.headers["location"]))
    impossible = await owner.send("/jobs", "/bulk/jobs", {"command": "explode", "query": ""})

    assert f"{made[0]['id']} : a job with status completed does not allow cancel" in said
    assert between == ["completed", "new", "new", "new"]
    assert run.headers["location"] == twice.headers["location"]
    assert "Dry run" in said
    assert "Dry run" not in after
    found = [await jobs.read(f"/v1/jobs/{one['id']}") for one in made]
    assert [one["status"] for one in found] == ["completed", "cancelled", "cancelled", "new"]
    assert found[1]["status_reason"] == "Strike"
    assert late.status_code == 303
    assert "It had ended already." in told
    assert (impossible.status_code, impossible.headers["location"]) == (303, "/jobs")


COPY = """
INSERT INTO merchants SELECT (jsonb_populate_record(one, jsonb_build_object('merchant_id', gen_random_uuid(),
    'login_email', number || one.login_email, 'created_at', one.created_at + number * interval '1 second'))).*
FROM merchants one, generate_series(1, 200) number WHERE one.merchant_id = $1
"""


async def test_of_many_merchants_those_that_are_shown_have_names_and_one_is_found_by_its_own(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    oldest = await tenant.create_merchant(business_name="Aux Délices")
    other = await tenant.create_merchant(level=1, api_access=False)
    await oldest.reveal()
    await created(oldest)
    connection = await asyncpg.connect(suite.databases["identity"])
    try:
        await connection.execute(COPY, to_uuid(other.id))
    finally:
        await connection.close()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)

    listed = await visitor.get(f"/jobs?merchant_id={oldest.id}")
    forms = [await visitor.get(f"/{address}") for address in ("jobs/new", "imports/new")]
    choices = await visitor.get("/merchant-choices?q=delices")

    assert "Delivery · Aux Délices" in text_of(listed)
    assert "Merchant: Aux Délices" in text_of(listed)
    assert all('data-lookup="/merchant-choices"' in form.text for form in forms)
    assert f'<option value="{oldest.id}">Aux Délices</option>' in choices.text


async def test_what_somebody_else_has_changed_is_shown_beside_what_was_entered(
    owner: Visitor, merchant: Merchant
) -> None:
    job = await created(merchant, short_description="Sofa")
    page = f"/jobs/{job['id']}/edit"
    shown = (await owner.get(page)).text
    version = re.search(r'name="if_match" value="([^"]+)"', shown)
    assert version is not None
    await merchant.api.at("jobs").patch(f"/v1/jobs/{job['id']}", {"short_description": "Sofa, third floor"})
    entered = {
        "/type": "delivery",
        "/short_description": "Table",
        "/contact/first_name": "Ada",
        "/contact/phone": "+15145550100",
        "/address/raw": "1 Rue X",
        "if_match": version[1].replace("&#34;", '"'),
    }

    refused = await owner.send(page, page, entered)

    assert refused.status_code == 412
    assert "There now: Sofa, third floor" in text_of(refused)
    assert 'value="Table"' in refused.text
    newer = re.search(r'name="if_match" value="([^"]+)"', refused.text)
    assert newer is not None
    saved = await owner.send(page, page, {**entered, "if_match": newer[1].replace("&#34;", '"')})
    assert saved.status_code == 303
    assert (await merchant.api.at("jobs").read(f"/v1/jobs/{job['id']}"))["short_description"] == "Table"
    copy = await owner.send(f"/jobs/{job['id']}/clone", f"/jobs/{job['id']}/clone", entered)
    assert copy.status_code == 303
    assert copy.headers["location"] != f"/jobs/{job['id']}"


async def test_a_file_is_checked_tried_imported_and_its_refused_rows_come_back(
    owner: Visitor, merchant: Merchant
) -> None:
    file = (
        "reference_id,contact.first_name,contact.phone,address.raw\nI-1,Ada,+15145550100,1 Rue X\nI-2,Bob,514,2 Rue X\n"
    )
    content, whose = file.encode(), {"merchant_id": merchant.id}

    checked = text_of(await upload(owner, "/imports/check", content, **whose))
    tried = await upload(owner, "/imports/dry-run", content, **whose)
    sent = await upload(owner, "/imports", content, **whose)

    assert "1 of the first rows would be refused." in checked
    assert "contact.phone" in checked
    assert (tried.status_code, sent.status_code) == (303, 303)

    async def done(path: str) -> str | None:
        found = text_of(await owner.get(path))
        return found if "Done" in found else None

    dry = await eventually(lambda: done(tried.headers["location"]), what="the dry run is done")
    assert "1 row would become a job." in dry
    page = await eventually(lambda: done(sent.headers["location"]), what="the import is done")
    assert "1 job created. 1 row was refused." in page
    rows = await owner.get(f"{sent.headers['location']}/refused-rows.csv")
    (row,) = csv.DictReader(io.StringIO(rows.content.decode("utf-8-sig"), newline=""))
    assert (row["reference_id"], row["refused.line"], row["refused.code"]) == ("I-2", "3", "invalid")
    missing = await upload(owner, "/imports", b"", name="")
    assert missing.status_code == 422
    forged = await owner.client.post("/imports", files={"file": ("jobs.csv", content, "text/csv")})
    assert forged.status_code == 403


async def test_a_report_says_what_it_shows(owner: Visitor, merchant: Merchant) -> None:
    await created(merchant, reference_id="R-1")

    found = await owner.get("/reports?days=7")

    shown = text_of(found)
    assert re.search(r"\d+ jobs in 7 days: ", shown)
    assert "By status" in shown
    assert "Show as table" in shown


async def test_a_merchant_sees_its_own_jobs_and_no_command(
    console: ConsoleStack, stock: Stock, merchant: Merchant
) -> None:
    foreign = await created(merchant, reference_id="foreign")
    visitor = await console.signed_in(stock.tenant.id, stock.merchant_email)

    jobs = await visitor.get("/jobs")
    job = await visitor.get(f"/jobs/{stock.ids['job_id']}")

    assert stock.ids["job_id"] in jobs.text
    assert 'href="/jobs/new"' not in jobs.text
    assert "commands" not in job.text
    assert (await visitor.get(f"/jobs/{foreign['id']}")).status_code == 404
    assert (await visitor.get("/jobs/new")).status_code == 404


async def test_the_timeline_has_the_webhooks_that_each_change_caused(console: ConsoleStack, stock: Stock) -> None:
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)

    async def told() -> bool:
        shown = await owner.get(f"/jobs/{stock.ids['job_id']}")
        return f"/deliveries/{stock.ids['delivery_id']}" in shown.text and "delivered 200" in text_of(shown)

    assert await eventually(told, what="the webhook of the creation stands beside it")


async def test_notices_come_through_the_console_as_the_person(owner: Visitor, merchant: Merchant) -> None:
    async with owner.client.stream("GET", "/live/jobs") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        told = ""
        job: dict[str, Any] | None = None
        async for line in lines:
            if line.startswith("data:") and job is None:
                job = await created(merchant)
            elif job is not None and line.startswith("data:"):
                told += line
                if job["id"] in told:
                    break
    assert (await owner.console.visitor().get("/live/jobs")).status_code in (303, 401)
