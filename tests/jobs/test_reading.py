"""Reading jobs: visibility, and lists that are stable while jobs are created."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant


async def ids(api: Api, query: str = "", *, limit: int = 200) -> list[str]:
    """The ids of a whole list, read page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = await api.get(f"/v1/jobs?limit={limit}{query and '&' + query}{cursor and '&cursor=' + cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["object"] == "list"
        assert len(page["data"]) <= limit
        found += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return found
        cursor = page["next_cursor"]


async def made(api: Api, count: int, **more: Any) -> list[str]:
    """Create jobs; returns their ids, newest first, as a list does."""
    return [(await api.create_job(smallest_job(**more)))["id"] for _ in range(count)][::-1]


async def test_another_merchants_job_is_not_there(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    job = await merchant.api.create_job()

    hidden = await other.api.get(f"/v1/jobs/{job['id']}")
    absent = await other.api.get(f"/v1/jobs/{new_id('job')}")

    assert (hidden.status_code, hidden.json()["code"]) == (404, "job_not_found")
    comparable = ("type", "title", "status", "detail", "code")
    assert [hidden.json()[name] for name in comparable] == [absent.json()[name] for name in comparable]
    assert (await (await other.session()).get(f"/v1/jobs/{job['id']}")).status_code == 404
    assert await ids(other.api) == []


async def test_another_tenants_job_is_not_there(service: Jobs, tenant: Tenant) -> None:
    job = await (await tenant.create_merchant()).api.create_job(smallest_job(reference_id="R-1"))
    stranger = await service.create_tenant()
    others = [
        (await stranger.create_merchant()).api,
        await stranger.create_user("owner"),
        await stranger.create_user(permissions=["orders"]),
        service.platform(stranger),
    ]

    for api in others:
        assert (await api.get(f"/v1/jobs/{job['id']}")).status_code == 404
        assert await ids(api) == []
        assert await ids(api, "reference_id=R-1") == []
        assert await ids(api, f"location_id={tenant.default_location}") == []
    assert await ids(others[1], f"merchant_id={job['merchant_id']}") == []


async def test_callers_who_read_at_one_moment_see_each_only_their_own_jobs(service: Jobs, tenant: Tenant) -> None:
    first, second = await tenant.create_merchant(), await tenant.create_merchant()
    test = await tenant.create_merchant(livemode=False)
    stranger = await service.create_tenant()
    jobs = [await one.api.create_job() for one in (first, second, test)]
    deleted = await first.api.create_job()
    await first.api.delete(f"/v1/jobs/{deleted['id']}")
    visible = [
        (first.api, [jobs[0]]),
        (second.api, [jobs[1]]),
        (test.api, [jobs[2]]),
        (await tenant.create_user("owner"), jobs[:2]),
        (await stranger.create_user("owner"), []),
    ]

    requested = [(api, job, job in own) for api, own in visible for job in (*jobs, deleted)]
    answers = await asyncio.gather(*(api.get(f"/v1/jobs/{job['id']}") for api, job, _ in requested))

    for (_, job, is_visible), answer in zip(requested, answers, strict=True):
        if is_visible:
            assert answer.json() == job
        else:
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_test_rows_and_live_rows_never_meet(tenant: Tenant) -> None:
    live, test = await tenant.create_merchant(), await tenant.create_merchant(livemode=False)
    live_owner, test_owner = await tenant.create_user("owner"), await tenant.create_user("owner", livemode=False)
    live_job, test_job = await live.api.create_job(), await test.api.create_job()

    assert (await ids(live_owner), await ids(test_owner)) == ([live_job["id"]], [test_job["id"]])
    assert (await live_owner.get(f"/v1/jobs/{test_job['id']}")).status_code == 404
    assert (await test_owner.get(f"/v1/jobs/{live_job['id']}")).status_code == 404
    # The merchant's session is a live one, so it does not show jobs of the test key.
    assert await ids(await test.session()) == []


async def test_administrators_see_every_merchants_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    first, second = await merchant.api.create_job(), await other.api.create_job()

    for api in (
        await tenant.create_user("owner"),
        await tenant.create_user(permissions=["orders.jobs.read"]),
        service.platform(tenant),
    ):
        assert await ids(api) == [second["id"], first["id"]]
        assert await ids(api, f"merchant_id={merchant.id}") == [first["id"]]
        assert (await api.read(f"/v1/jobs/{first['id']}")) == first


async def test_a_merchant_reads_its_jobs_with_credentials_and_in_its_session(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    job = await merchant.api.create_job(smallest_job(actions=[{"sku": "A"}, {"sku": "B"}]))
    await other.api.create_job()

    for api in (merchant.api, await merchant.session()):
        assert (await api.read("/v1/jobs"))["data"] == [job]
        assert (await api.read(f"/v1/jobs/{job['id']}")) == job
        refused = await api.get(f"/v1/jobs?merchant_id={merchant.id}")
        assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "merchant_id")


async def test_a_job_is_not_sent_again_while_it_is_the_same(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = await merchant.api.create_job()
    read = await merchant.api.get(f"/v1/jobs/{job['id']}")

    again = await merchant.api.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": read.headers["ETag"]})

    assert read.headers["ETag"] == '"1"'
    assert (again.status_code, again.content) == (304, b"")


async def test_a_list_is_newest_first_and_stable_while_jobs_arrive(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    before = await made(merchant.api, 7)

    first = await merchant.api.read("/v1/jobs?limit=3")
    await made(merchant.api, 4)
    second = await merchant.api.read(f"/v1/jobs?limit=3&cursor={first['next_cursor']}")
    await made(merchant.api, 1)
    third = await merchant.api.read(f"/v1/jobs?limit=3&cursor={second['next_cursor']}")

    seen = [job["id"] for page in (first, second, third) for job in page["data"]]
    assert seen == before
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]


async def test_a_full_last_page_says_that_it_is_the_last(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    everything = await made(merchant.api, 6)

    assert await ids(merchant.api, limit=3) == everything
    assert await ids(merchant.api, limit=6) == everything
    assert await ids(merchant.api, limit=1) == everything


async def test_filters_narrow_a_list(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    (delivery,) = await made(merchant.api, 1, reference_id="R-1")
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    (pickup,) = await made(merchant.api, 1, type="pickup", location_id=tenant.toronto)
    (service,) = await made(merchant.api, 1, type="service")

    for api in (merchant.api, await tenant.create_user("owner")):
        assert await ids(api, "reference_id=R-1") == [delivery]
        assert await ids(api, "reference_id=R-2") == []
        assert await ids(api, "type=pickup&type=service") == [service, pickup]
        assert await ids(api, "status=new") == [service, pickup, delivery]
        assert await ids(api, "status=completed&status=cancelled") == []
        assert await ids(api, f"location_id={tenant.toronto}") == [pickup]
        assert await ids(api, f"location_id={tenant.toronto}&location_id={tenant.default_location}", limit=2) == [
            service,
            pickup,
            delivery,
        ]
        assert await ids(api, f"created_gte={between}") == [service, pickup]
        assert await ids(api, f"created_lte={between}") == [delivery]
        assert await ids(api, f"created_lte={between}&type=pickup") == []


async def test_a_cursor_is_valid_only_for_its_own_list(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    await made(merchant.api, 3)
    cursor = (await merchant.api.read("/v1/jobs?limit=1&type=delivery"))["next_cursor"]

    for api, query in (
        (merchant.api, ""),
        (merchant.api, "&type=pickup"),
        (other.api, "&type=delivery"),
        (await tenant.create_user("owner"), "&type=delivery"),
    ):
        answer = await api.get(f"/v1/jobs?limit=1&cursor={cursor}{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_filters_differ"), query
    forged = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    answer = await merchant.api.get(f"/v1/jobs?limit=1&type=delivery&cursor={forged}")
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")
