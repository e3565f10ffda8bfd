"""Summaries: counts of jobs in a bounded range."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from shared.ids import to_uuid
from tests.harness.bodies import smallest_job
from tests.harness.client import Api, document
from tests.harness.jobs import Jobs, Tenant

PATH = "/v1/reports/jobs/summary"


async def administrator(tenant: Tenant, **more: Any) -> Api:
    """A caller that has only the permission of reports."""
    return await tenant.create_user(permissions=["reports"], scopes=["reports"], **more)


async def summary(api: Api, **query: Any) -> dict[str, Any]:
    """The summary of the response."""
    return document(await api.get(PATH, params=query))


async def create_at(service: Jobs, api: Api, *instants: str) -> None:
    """Create jobs with these creation instants."""
    for instant in instants:
        job = await api.create_job()
        async with service.database.transaction() as session:
            statement = text("UPDATE jobs SET created_at = :created_at WHERE id = :id")
            values = {"created_at": datetime.fromisoformat(instant), "id": to_uuid(job["id"])}
            await session.execute(statement, values)


def days_of(answered: dict[str, Any]) -> dict[str, int]:
    """The days with jobs, and their counts."""
    return {day["date"]: day["count"] for day in answered["by_day"] if day["count"]}


async def test_a_summary_counts_the_last_thirty_days(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    for more in ({}, {"type": "pickup", "location_id": tenant.toronto}, {"type": "pickup"}):
        await merchant.api.create_job(smallest_job(**more))
    cancelled = await other.api.create_job()
    assert (await other.api.post(f"/v1/jobs/{cancelled['id']}/cancel")).status_code == 200
    await create_at(service, merchant.api, (datetime.now(UTC) - timedelta(days=31)).isoformat())
    deleted = await merchant.api.create_job()
    assert (await merchant.api.request("DELETE", f"/v1/jobs/{deleted['id']}")).status_code == 204

    counted = await summary(await administrator(tenant))

    assert (counted["object"], counted["counted_by"], counted["timezone"]) == ("job_summary", "created_at", "UTC")
    assert counted["total"] == 4
    assert len(counted["by_status"]) == 9
    assert {status: count for status, count in counted["by_status"].items() if count} == {"new": 3, "cancelled": 1}
    assert {kind: count for kind, count in counted["by_type"].items() if count} == {"delivery": 2, "pickup": 2}
    assert counted["by_location"] == {tenant.default_location: 3, tenant.toronto: 1}
    assert len(counted["by_day"]) == 31
    assert sum(days_of(counted).values()) == 4
    since, until = (datetime.fromisoformat(counted[name]) for name in ("since", "until"))
    assert until - since == timedelta(days=30)


async def test_a_summary_can_be_narrowed(tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    await merchant.api.create_job()
    await merchant.api.create_job(smallest_job(location_id=tenant.toronto))
    await other.api.create_job()
    api = await administrator(tenant)

    assert (await summary(api, merchant_id=merchant.id))["total"] == 2
    assert (await summary(api, location_id=tenant.toronto))["by_location"] == {tenant.toronto: 1}
    assert (await summary(api, location_id=[tenant.toronto, tenant.default_location]))["total"] == 3
    assert (await summary(api, merchant_id=other.id, location_id=tenant.toronto))["total"] == 0


async def test_days_begin_in_the_requested_time_zone(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    # Summer time ended in Montreal on the first of November, so this day had 25 hours.
    await create_at(
        service,
        merchant.api,
        "2026-11-01T03:59:59+00:00",
        "2026-11-01T04:00:00+00:00",
        "2026-11-02T04:59:59+00:00",
        "2026-11-02T05:00:00+00:00",
    )
    asked = {"created_gte": "2026-10-31T00:00:00Z", "created_lte": "2026-11-03T00:00:00Z"}

    local = await summary(api, **asked, timezone="America/Montreal")

    assert days_of(local) == {"2026-10-31": 1, "2026-11-01": 2, "2026-11-02": 1}
    assert [day["date"] for day in local["by_day"]] == ["2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02"]
    assert days_of(await summary(api, **asked)) == {"2026-11-01": 2, "2026-11-02": 2}
    assert local["since"] == asked["created_gte"]


async def test_a_range_includes_both_its_ends(service: Jobs, tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    await create_at(service, merchant.api, "2026-05-01T00:00:00+00:00", "2026-05-03T00:00:00+00:00")

    async def total(since: str, until: str) -> int:
        count: int = (await summary(api, created_gte=since, created_lte=until))["total"]
        return count

    assert await total("2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z") == 2
    assert await total("2026-05-01T00:00:00.000001Z", "2026-05-03T00:00:00Z") == 1
    assert await total("2026-05-01T00:00:00Z", "2026-05-02T23:59:59.999999Z") == 1


async def test_scheduled_days_are_counted_by_date(tenant: Tenant) -> None:
    merchant, api = await tenant.create_merchant(), await administrator(tenant)
    for day in ("2027-03-01", "2027-03-02", "2027-03-02", "2027-04-30", None):
        await merchant.api.create_job(smallest_job(scheduled_date=day))

    march = await summary(api, scheduled_date_gte="2027-03-01", scheduled_date_lte="2027-03-31")

    assert (march["counted_by"], march["since"], march["until"]) == ("scheduled_date", "2027-03-01", "2027-03-31")
    assert days_of(march) == {"2027-03-01": 1, "2027-03-02": 2}
    assert len(march["by_day"]) == 31
    assert (await summary(api, scheduled_date_gte="2027-04-01"))["until"] == "2027-05-01"
    assert (await summary(api, scheduled_date_lte="2027-05-01"))["total"] == 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"created_gte": "2026-01-01T00:00:00Z", "created_lte": "2027-01-02T00:00:01Z"}, "created_gte"),
        ({"created_gte": "2026-01-02T00:00:00Z", "created_lte": "2026-01-01T00:00:00Z"}, "created_lte"),
        ({"created_gte": "2020-01-01T00:00:00Z"}, "created_gte"),
        ({"scheduled_date_gte": "2026-01-01", "scheduled_date_lte": "2027-01-03"}, "scheduled_date_gte"),
        ({"scheduled_date_gte": "2026-01-02", "scheduled_date_lte": "2026-01-01"}, "scheduled_date_lte"),
        ({"scheduled_date_gte": "2026-01-01", "created_lte": "2026-01-02T00:00:00Z"}, "scheduled_date_gte"),
        ({"scheduled_date_gte": "9999-12-20"}, "scheduled_date_gte"),
        ({"scheduled_date_lte": "0001-01-02"}, "scheduled_date_gte"),
        ({"created_lte": "0001-01-01T00:00:00Z"}, "created_gte"),
        ({"created_gte": "yesterday"}, "created_gte"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"merchant_id": "loc_01h455vb4pex5vsknk084sn02q"}, "merchant_id"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_an_invalid_range_is_refused(tenant: Tenant, query: dict[str, str], parameter: str) -> None:
    answer = await (await administrator(tenant)).get(PATH, params=query)

    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, parameter)


async def test_a_range_may_end_with_the_calendar(tenant: Tenant) -> None:
    api = await administrator(tenant)
    ends = {"created_gte": "9999-12-01T00:00:00Z", "created_lte": "9999-12-31T23:59:59.999999Z"}

    assert len((await summary(api, **ends))["by_day"]) == 31
    assert len((await summary(api, **ends, timezone="Etc/GMT+12"))["by_day"]) == 32
    assert (await api.get(PATH, params={**ends, "timezone": "Pacific/Kiritimati"})).status_code == 422
    assert len((await summary(api, scheduled_date_gte="9999-12-01", scheduled_date_lte="9999-12-31"))["by_day"]) == 31


async def test_all_time_zones_have_days(tenant: Tenant) -> None:
    api = await administrator(tenant)
    asked = {"created_gte": "2026-01-01T00:00:00Z", "created_lte": "2026-12-31T00:00:00Z"}

    for zone in ("Asia/Kathmandu", "Africa/Cairo", "America/Santiago", "Australia/Lord_Howe", "Asia/Beirut"):
        days = [date.fromisoformat(day["date"]) for day in (await summary(api, **asked, timezone=zone))["by_day"]]
        assert days[0] == datetime(2026, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).date()
        assert {later - earlier for earlier, later in itertools.pairwise(days)} == {timedelta(days=1)}


async def test_summaries_are_for_administrators_of_their_own_tenant(service: Jobs, tenant: Tenant) -> None:
    merchant, stranger = await tenant.create_merchant(), await service.create_tenant()
    await merchant.api.create_job()
    orders = await tenant.create_user(permissions=["orders", "customers"], scopes=["orders", "reports"])

    for api in (merchant.api, await merchant.session(), orders):
        assert (await api.get(PATH)).status_code == 403
    assert (await summary(await administrator(tenant)))["total"] == 1
    assert (await summary(await administrator(tenant, livemode=False)))["total"] == 0
    outsider = await administrator(stranger)
    assert (await summary(outsider))["total"] == 0
    assert (await summary(outsider, merchant_id=merchant.id, location_id=tenant.default_location))["total"] == 0
