"""Webhooks in the console, without a script: an endpoint's life, its deliveries, replays, event types."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from playwright.async_api import Browser, expect

from tests.harness.bodies import PASSWORD, smallest_job, staff_body
from tests.harness.console import ConsoleStack, Stock, Visitor, open_context, text_of
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{20,}")


async def created(owner: Visitor, url: str, **more: Any) -> str:
    """The id of an endpoint that was created with the form."""
    fields = {"/url": url, "/event_types": "*", "/location_ids": "*", **more}
    answer = await owner.send("/webhooks/new", "/webhooks/new", fields)
    assert answer.status_code == 303, text_of(answer)
    return answer.headers["location"].rpartition("/")[2]


async def shown(owner: Visitor, path: str) -> str:
    answer = await owner.get(path)
    assert answer.status_code == 200, text_of(answer)
    return text_of(answer)


async def test_an_endpoint_is_created_tested_changed_and_deleted(
    owner: Visitor, tenant: Tenant, hooks: Receiver
) -> None:
    laval = await tenant.create_location(name="Laval")
    endpoint_id = await created(owner, hooks.url("/console"), **{"/location_ids": tenant.default_location})
    page = f"/webhooks/{endpoint_id}"

    tested = await owner.send(page, f"{page}/test", {})
    listed = await shown(owner, "/webhooks")
    changed = {
        "/url": hooks.url("/console"),
        "/event_types": "job.*",
        "/location_ids": laval,
        "/headers": "X-Source: canary",
    }
    saved = await owner.send(f"{page}/edit", f"{page}/edit", changed)
    endpoint = await tenant.owner.at("webhooks").read(f"/v1/webhook-endpoints/{endpoint_id}")
    cleared = await owner.send(f"{page}/edit", f"{page}/edit", {**changed, "/headers": ""})
    without = await tenant.owner.at("webhooks").read(f"/v1/webhook-endpoints/{endpoint_id}")
    await owner.send(page, f"{page}/disable", {})
    disabled = await shown(owner, page)
    await owner.send(page, f"{page}/enable", {})
    enabled = await shown(owner, page)
    deleted = await owner.send(page, f"{page}/delete", {})

    assert "The test was accepted" in text_of(tested)
    assert "Nothing gets the events of 1 location Laval" in listed
    assert (saved.status_code, cleared.status_code) == (303, 303)
    assert (endpoint["event_types"], endpoint["location_ids"], endpoint["headers"]) == (
        ["job.*"],
        [laval],
        {"X-Source": "canary"},
    )
    assert without["headers"] == {}
    assert "Disabled by hand" in disabled
    assert "Ready. No events" in enabled
    assert (deleted.status_code, (await owner.get(page)).status_code) == (303, 404)


async def test_enter_in_the_form_of_an_endpoint_creates_it(
    browser: Browser, console: ConsoleStack, owner: Visitor, hooks: Receiver
) -> None:
    window = await open_context(browser, console, owner, locale="en")
    tab = await window.new_page()
    await tab.goto("/webhooks/new")

    await tab.get_by_label("Address").fill(hooks.url("/entered"))
    await tab.get_by_label("Address").press("Enter")

    await expect(tab.get_by_text("Created. Reveal its secret")).to_be_visible()
    await expect(tab.get_by_role("heading", level=1)).to_contain_text("/entered")
    await window.close()


async def test_what_is_wrong_with_an_endpoint_is_said_at_its_field(owner: Visitor) -> None:
    wrong = {"/url": "ftp://nowhere", "/location_ids": "*"}

    empty = await owner.send("/webhooks/new", "/webhooks/new", wrong)
    answer = await owner.send("/webhooks/new", "/webhooks/new", {**wrong, "/event_types": "*"})

    assert (empty.status_code, answer.status_code) == (422, 422)
    assert 'href="#field-event_types"' in empty.text
    assert 'href="#field-url"' in answer.text
    assert 'value="ftp://nowhere"' in answer.text


async def test_a_secret_is_shown_for_the_password_alone(owner: Visitor, hooks: Receiver) -> None:
    endpoint_id = await created(owner, hooks.url("/secret"))
    page = f"/webhooks/{endpoint_id}/secret"

    async def ask(do: str, password: str = PASSWORD) -> httpx.Response:
        return await owner.send(page, page, {"/password": password, "do": do, "/overlap": "3600"})

    refused = await ask("reveal", "not the password")
    revealed = SECRET.search((await ask("reveal")).text)
    rotated = await ask("rotate")
    during = await shown(owner, f"/webhooks/{endpoint_id}")
    ended = await ask("end")
    after = await owner.get(f"/webhooks/{endpoint_id}")

    assert refused.status_code in (401, 403)
    assert SECRET.search(refused.text) is None
    assert revealed is not None
    assert (new := SECRET.search(rotated.text)) is not None
    assert new[0] != revealed[0]
    assert "The former secret signs as well" in during
    assert ended.status_code == 303
    assert "The former secret signs as well" not in after.text
    assert SECRET.search(after.text) is None


async def test_a_subscription_is_tried_on_the_events_of_yesterday(owner: Visitor) -> None:
    fields = {"/event_types": "job.*", "/location_ids": "*", "/url": "https://example.com/kept"}

    whole = await owner.send("/webhooks/new", "/webhooks/preview", fields)
    part = await owner.send("/webhooks/new", "/webhooks/preview", fields, headers={"HX-Request": "true"})

    assert "Yesterday this would have matched 0 of 0 events." in text_of(whole)
    assert 'value="https://example.com/kept"' in whole.text
    assert "<html" not in part.text
    assert "Yesterday this would have matched 0 of 0 events." in text_of(part)


async def test_an_endpoint_says_what_it_gets_and_what_of_yesterday_that_was(
    owner: Visitor, tenant: Tenant, hooks: Receiver
) -> None:
    place = await tenant.create_location(name="Sherbrooke")
    endpoint_id = await created(owner, hooks.url("/part"), **{"/event_types": "job.created", "/location_ids": place})

    page = await shown(owner, f"/webhooks/{endpoint_id}")
    yesterday = await owner.get(f"/webhooks/{endpoint_id}/yesterday", headers={"HX-Request": "true"})

    assert re.search(r"action\.\* – no job\.\* 1 of \d+", page)
    assert "Sherbrooke yes" in page
    assert "Yesterday this would have matched 0 of 0 events." in text_of(yesterday)


async def test_a_subscription_is_tried_while_it_is_chosen(
    browser: Browser, console: ConsoleStack, stock: Stock
) -> None:
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)
    window = await open_context(browser, console, owner, locale="en")
    tab = await window.new_page()
    await tab.goto(stock.fill("/webhooks/{endpoint_id}"))
    await expect(tab.get_by_text("Yesterday this would have matched")).to_be_visible()
    await tab.goto("/webhooks/new")

    await tab.get_by_label("All of job.*").check()

    await expect(tab.locator("#match")).to_contain_text("Yesterday this would have matched")
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_what_somebody_else_saved_of_an_endpoint_stands_beside_what_was_entered(
    owner: Visitor, tenant: Tenant, hooks: Receiver
) -> None:
    endpoint_id = await created(owner, hooks.url("/two"))
    edit = f"/webhooks/{endpoint_id}/edit"
    stale = version_of(await owner.get(edit))
    path = f"/v1/webhook-endpoints/{endpoint_id}"
    await tenant.owner.at("webhooks").patch(path, {"description": "Theirs", "event_types": ["job.*"]})
    fields = {"/url": hooks.url("/two"), "/event_types": "*", "/location_ids": "*", "/description": "Mine"}

    refused = await owner.send(edit, edit, {**fields, "if_match": stale})
    saved = await owner.send(edit, edit, {**fields, "if_match": version_of(refused)})

    assert (refused.status_code, saved.status_code) == (412, 303)
    assert "2 fields differ" in text_of(refused)
    assert "There now: Theirs" in text_of(refused)
    assert "There now: All of job.*" in text_of(refused)
    assert 'value="Mine"' in refused.text


def version_of(page: httpx.Response) -> str:
    """The version that a form changes."""
    return unescape(page.text.partition('name="if_match" value="')[2].partition('"')[0])


async def test_a_delivery_is_found_shown_as_it_was_sent_and_sent_again(
    console: ConsoleStack, suite: Suite, hooks: Receiver
) -> None:
    tenant = await suite.create_tenant()
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    endpoint = await tenant.create_endpoint(hooks.url("/found"), headers={"X-Token": "canary-of-a-header"})
    jobs = merchant.api.at("jobs")
    job = await jobs.create("/v1/jobs", {**smallest_job(), "reference_id": "C-1001"})
    await tenant.owner.at("jobs").post(f"/v1/jobs/{job['id']}/start")

    async def both() -> list[dict[str, Any]] | None:
        found = (await tenant.owner.at("webhooks").read("/v1/deliveries?status=delivered"))["data"]
        return found if len(found) == 2 else None

    started, made = await eventually(both, what="both deliveries are there")
    listed = await shown(owner, "/deliveries?job_reference=C-1001&status=delivered")
    nothing = await shown(owner, "/deliveries?job_reference=C-2002")
    wrong = await shown(owner, "/deliveries?response_status=many")
    # Local times of the company's zone, as the fields send them.
    zone = ZoneInfo("America/Montreal")
    hour_ago, in_an_hour = ((datetime.now(zone) + timedelta(hours=one)).strftime("%Y-%m-%dT%H:%M") for one in (-1, 1))
    within = await shown(owner, f"/deliveries?created_from={hour_ago}&created_before={in_an_hour}")
    before = await shown(owner, f"/deliveries?created_before={hour_ago}")
    answer = await owner.get(f"/deliveries/{started['id']}")
    again = await owner.send(f"/deliveries/{made['id']}", f"/deliveries/{made['id']}/resend", {})

    assert (listed.count("C-1001"), listed.count("Resend")) >= (2, 2)
    assert "Nothing here matches" in nothing
    assert "response_status" in wrong or "valid" in wrong
    assert "C-1001" in within
    assert "Nothing here matches" in before
    text = text_of(answer)
    assert f"POST {endpoint['url']}" in text
    assert "webhook-signature: [hidden]" in text
    assert "canary-of-a-header" not in answer.text
    assert f"/deliveries/{made['id']}" in answer.text
    assert "<del>" in answer.text
    assert (again.status_code, again.headers["location"]) == (303, f"/deliveries/{made['id']}")


async def test_attempts_are_told_by_name_and_shown_without_a_look_every_few_seconds(
    browser: Browser, console: ConsoleStack, suite: Suite, hooks: Receiver
) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    endpoint = await tenant.create_endpoint(hooks.url("/live"))
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    window = await open_context(browser, console, owner, locale="en")
    tab, blind = await window.new_page(), await window.new_page()
    await blind.route("**/live/webhooks", lambda route: route.abort())
    await tab.add_init_script("window.setInterval = () => 0")
    for each in (tab, blind):
        await each.goto(f"/webhooks/{endpoint['id']}")

    told = ""
    async with owner.client.stream("GET", "/live/webhooks") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            told += line
            if "everything" in line and told.count("everything") == 1:
                await tenant.owner.at("jobs").create("/v1/jobs", smallest_job(merchant_id=merchant.id))
            if endpoint["id"] in line:
                break

    for each in (tab, blind):
        await expect(each.locator("#now tbody tr").filter(has_text="200")).to_have_count(1, timeout=15_000)
    assert "event: event" not in told
    assert "job.created" not in told
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_a_replay_is_tried_before_it_is_run(console: ConsoleStack, stock: Stock) -> None:
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)
    fields = {"/endpoint_id": stock.ids["endpoint_id"], "/kind": "filter", "/span": "1"}

    tried = await owner.send("/replays/new", "/replays/new", fields)
    path = tried.headers["location"]

    async def counted() -> str | None:
        text = await shown(owner, path)
        return text if "would be sent" in text else None

    text = await eventually(counted, what="the dry run has ended")
    run = await owner.send(path, f"{path}/run", {"idempotency_key": "of-this-test"})
    twice = await owner.send(path, f"{path}/run", {"idempotency_key": "of-this-test"})

    assert "Dry run" in text
    assert run.headers["location"] == twice.headers["location"] != path
    assert "Replay" in await shown(owner, run.headers["location"])


async def test_a_replay_takes_ones_own_instants(console: ConsoleStack, suite: Suite, stock: Stock) -> None:
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)
    fields = {
        "/endpoint_id": stock.ids["endpoint_id"],
        "/kind": "filter",
        "/span": "own",
        "/event_types": "job.created, job.started",
    }

    without = await owner.send("/replays/new", "/replays/new", fields)
    begin = (datetime.now(ZoneInfo("America/Montreal")) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    tried = await owner.send("/replays/new", "/replays/new", {**fields, "/since": begin})
    bars = await owner.send("/replays/new", "/replays/histogram", {**fields, "/since": begin})
    replay = await suite.platform.in_tenant(stock.tenant.id).at("webhooks").read(f"/v1{tried.headers['location']}")

    assert (without.status_code, tried.status_code) == (422, 303)
    assert 'href="#field-since"' in without.text
    assert replay["event_types"] == ["job.created", "job.started"]
    since = datetime.fromisoformat(replay["since"]).astimezone(ZoneInfo("America/Montreal"))
    assert since.strftime("%Y-%m-%dT%H:%M") == begin
    assert "<rect" in bars.text
    assert re.search(r"\d+ deliver(y|ies) from", text_of(bars))


async def test_what_the_list_of_deliveries_shows_is_counted_and_sent_again(
    browser: Browser, console: ConsoleStack, suite: Suite, hooks: Receiver
) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    await tenant.create_endpoint(hooks.url("/recovered"))
    await tenant.create_endpoint(hooks.url("/beside"))
    jobs = tenant.owner.at("jobs")
    for reference in ("C-1", "C-2"):
        await jobs.create("/v1/jobs", {**smallest_job(merchant_id=merchant.id), "reference_id": reference})

    async def all_delivered() -> bool:
        return len((await tenant.owner.at("webhooks").read("/v1/deliveries?status=delivered"))["data"]) == 4

    await eventually(all_delivered, what="all four deliveries are made")
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    window = await open_context(browser, console, owner, locale="en")
    tab = await window.new_page()
    hour_ago = (datetime.now(ZoneInfo("America/Montreal")) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    await tab.goto(f"/deliveries?job_reference=C-2&response_class=2xx&created_from={hour_ago}")

    await tab.get_by_role("link", name="Recover all 2 that match…").click()
    await expect(tab.get_by_role("list", name="Filters in force")).to_contain_text("Reference of the job: C-2")
    await tab.get_by_role("button", name="Dry run").click()
    await expect(tab.get_by_text("2 would be sent.")).to_be_visible()
    await expect(tab.locator("#now")).to_contain_text("C-2")
    await tab.get_by_role("button", name="Send 2 events").click()
    await expect(tab.get_by_text("2 are on their way or delivered.")).to_be_visible()

    async def arrived() -> bool:
        return all(len(hooks.at(path)) == 3 for path in ("/recovered", "/beside"))

    await eventually(arrived, what="what matches has arrived once more")
    sent = [one.json()["data"]["job"]["reference_id"] for one in hooks.at("/recovered")[2:] + hooks.at("/beside")[2:]]
    assert sent == ["C-2", "C-2"]
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_a_filter_that_no_delivery_can_have_is_said_before_anything_is_tried(
    owner: Visitor, tenant: Tenant
) -> None:
    page = await owner.get("/replays/deliveries?response_status=many")
    sent = await owner.send("/replays/deliveries", "/replays/deliveries", {"response_status": "many"})

    assert page.status_code == 200
    assert 'action="/replays/deliveries"' not in page.text.replace('method="get" action', "")
    assert (sent.status_code, "location" in sent.headers) == (422, False)
    assert (await tenant.owner.at("webhooks").read("/v1/replays"))["data"] == []


async def test_an_event_type_says_who_gets_it(console: ConsoleStack, stock: Stock) -> None:
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)

    all_types = await shown(owner, "/event-types")
    one = await owner.get("/event-types/job.created")
    none = await owner.get("/event-types/job.nonsense")

    assert "job.created" in all_types
    assert f"/webhooks/{stock.ids['endpoint_id']}" in one.text
    assert none.status_code == 404


async def test_who_may_only_read_sees_no_buttons_that_write(
    console: ConsoleStack, tenant: Tenant, hooks: Receiver, owner: Visitor
) -> None:
    endpoint_id = await created(owner, hooks.url("/read"))
    body = staff_body("settings.webhooks.read")
    await tenant.source.create_staff(tenant, body)
    reader = await console.signed_in(tenant.id, body["email"])

    page = await owner.get(f"/webhooks/{endpoint_id}")
    read = await reader.get(f"/webhooks/{endpoint_id}")
    refused = await reader.get(f"/webhooks/{endpoint_id}/edit")

    assert "Reveal or rotate" in page.text
    assert "Reveal or rotate" not in read.text
    assert "Send test" not in read.text
    assert refused.status_code == 403
