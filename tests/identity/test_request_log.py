"""The request log as tenants see it: consumed from every service, stored once, shown to those whom it concerns."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from identity.request_log.worker import purge_request_log
from shared.events.access import FailedRequestState, RequestCountState
from shared.ids import first_id_at, from_uuid, new_id
from tests.harness.client import Api, refused
from tests.harness.identity import Identity
from tests.harness.people import Merchant, Tenant
from tests.harness.waiting import eventually

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def failed(merchant: Merchant, **more: Any) -> FailedRequestState:
    """A failed request of a merchant, in jobs."""
    values = {
        "failed_request_id": new_id("frq"),
        "tenant_id": merchant.tenant.id,
        "credential_id": merchant.document["api_account_id"],
        "subject_id": merchant.id,
        "livemode": False,
        "at": NOW,
        "method": "POST",
        "path": "/v1/jobs",
        "status": 422,
        "code": "invalid",
        "request_id": "req_1",
        "milliseconds": 3.4,
        **more,
    }
    return FailedRequestState.model_validate(values)


def counted(merchant: Merchant, calls: int, errors: int, *, hours_ago: int = 0) -> RequestCountState:
    return RequestCountState(
        tenant_id=merchant.tenant.id,
        credential_id=merchant.document["api_account_id"],
        subject_id=merchant.id,
        livemode=False,
        hour=HOUR - timedelta(hours=hours_ago),
        calls=calls,
        errors=errors,
    )


async def listed(caller: Api, count: int, query: str = "") -> list[dict[str, Any]]:
    """The entries that a caller sees, when there are as many."""

    async def found() -> list[dict[str, Any]] | None:
        entries: list[dict[str, Any]] = (await caller.read(f"/v1/request-log?limit=200&{query}"))["data"]
        return entries if len(entries) == count else None

    return await eventually(found, what=f"{count} entries of the request log")


async def test_a_request_that_identity_refuses_is_in_the_merchants_log(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()
    answer = await api.get("/v1/merchants")

    (entry,) = await listed(await merchant.session(), 1)

    assert entry == {
        "object": "failed_request",
        "id": entry["id"],
        "created_at": entry["created_at"],
        "service": "identity",
        "credential_id": merchant.document["api_account_id"],
        "subject_id": merchant.id,
        "livemode": entry["livemode"],
        "method": "GET",
        "path": "/v1/merchants",
        "status": 403,
        "code": "credential_not_admitted",
        "request_id": answer.headers["x-request-id"],
        "milliseconds": entry["milliseconds"],
    }


async def test_everybody_sees_what_concerns_them(identity: Identity, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    stranger = await (await identity.create_tenant()).create_merchant()
    auditor, clerk = (
        await tenant.create_staff("settings.audit.read"),
        await tenant.create_staff("settings.merchants.read"),
    )
    poor = await tenant.create_staff("orders")
    own = failed(merchant, credential_id=new_id("key"), subject_id=poor.subject_id)
    await identity.publish_requests(failed=[failed(merchant), failed(other), failed(stranger), own])

    of_merchant = await listed(await merchant.session(), 1)
    assert [entry["subject_id"] for entry in of_merchant] == [merchant.id]
    assert len(await listed(tenant.owner, 3)) == 3
    assert len(await listed(auditor, 3)) == 3
    assert {entry["subject_id"] for entry in await listed(clerk, 2)} == {merchant.id, other.id}
    assert [entry["id"] for entry in await listed(poor, 1)] == [own.failed_request_id]
    refused(await (await merchant.reveal()).get("/v1/request-log"), 403, "credential_not_admitted")


async def test_the_log_is_filtered_and_paged(identity: Identity, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    some = [
        failed(merchant, at=NOW - timedelta(minutes=4)),
        failed(merchant, at=NOW - timedelta(minutes=3), status=503, code="unavailable"),
        failed(merchant, at=NOW - timedelta(minutes=2), status=499, code=None),
        failed(other, at=NOW - timedelta(minutes=1), status=404, code="job_not_found"),
    ]
    await identity.publish_requests(failed=some)
    newest_first = [entry.failed_request_id for entry in reversed(some)]
    owner = tenant.owner

    assert [entry["id"] for entry in await listed(owner, 4)] == newest_first
    assert [entry["status"] for entry in await listed(owner, 1, "status_class=5xx")] == [503]
    assert [entry["id"] for entry in await listed(owner, 1, "code=invalid")] == newest_first[3:]
    account = other.document["api_account_id"]
    assert [entry["id"] for entry in await listed(owner, 1, f"credential_id={account}&service=jobs")] == newest_first[
        :1
    ]
    await listed(owner, 0, "service=webhooks")
    since = (NOW - timedelta(minutes=3)).isoformat().replace("+00:00", "Z")
    await listed(owner, 3, f"created_at_gte={since}")
    await listed(owner, 2, f"created_at_lte={since}")
    first = await owner.read("/v1/request-log?limit=3")
    second = await owner.read(f"/v1/request-log?limit=3&cursor={first['next_cursor']}")
    assert [entry["id"] for entry in (*first["data"], *second["data"])] == newest_first
    refused(await owner.get("/v1/request-log?status_class=3xx"), 422, "invalid")


async def test_counts_are_sums_of_all_processes_and_do_not_grow_by_repeats(identity: Identity, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    for counts in ([counted(merchant, 10, 1)], [counted(merchant, 40, 3)], [counted(merchant, 10, 1)]):
        await identity.publish_requests(counts=counts)
    await identity.publish_requests(counts=[counted(merchant, 5, 0)], process_id=uuid4())
    await identity.publish_requests(
        counts=[counted(merchant, 7, 7, hours_ago=2), counted(merchant, 9, 9, hours_ago=30)]
    )
    await identity.publish_requests(counts=[counted(other, 1, 0)])

    async def of_all() -> dict[str, Any] | None:
        found: dict[str, Any] = await tenant.owner.read("/v1/request-log/counts")
        return found if found["calls"] == 53 else None

    everything = await eventually(of_all, what="all counts")

    assert everything["errors"] == 10
    assert len(everything["hours"]) == 24
    assert [(hour["calls"], hour["errors"]) for hour in everything["hours"] if hour["calls"]] == [(7, 7), (46, 3)]
    (present,) = [hour for hour in everything["hours"] if hour["calls"] == 46]
    assert datetime.fromisoformat(present["hour"]) == HOUR
    account = merchant.document["api_account_id"]
    week = await tenant.owner.read(f"/v1/request-log/counts?hours=168&credential_id={account}")
    assert (week["calls"], week["errors"]) == (61, 19)
    own = await (await other.session()).read("/v1/request-log/counts?service=jobs")
    assert (own["calls"], own["errors"]) == (1, 0)
    accounts = {one["merchant_id"]: one for one in (await tenant.owner.read("/v1/api-settings/accounts"))["data"]}
    assert (accounts[merchant.id]["calls_24h"], accounts[merchant.id]["errors_24h"]) == (52, 10)
    assert (accounts[other.id]["calls_24h"], accounts[other.id]["errors_24h"]) == (1, 0)


async def test_accounts_are_found_by_words_and_by_how_long_they_are_unused(identity: Identity, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    account = merchant.document["api_account_id"]

    found = (await tenant.owner.read(f"/v1/api-settings/accounts?q={account}"))["data"]

    assert [one["merchant_id"] for one in found] == [merchant.id]
    assert found[0]["rotated_at"] is not None
    assert found[0]["previous_key_valid_until"] is None
    later, long_ago = ((NOW + timedelta(days=sign)).isoformat().replace("+00:00", "Z") for sign in (1, -90))
    unused = (await tenant.owner.read(f"/v1/api-settings/accounts?unused_since={later}"))["data"]
    assert {one["merchant_id"] for one in unused} == {merchant.id, other.id}
    assert (await tenant.owner.read(f"/v1/api-settings/accounts?unused_since={long_ago}"))["data"] == []


async def test_what_is_old_is_deleted(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    old = NOW - timedelta(days=8)
    of_old = failed(merchant, at=old, failed_request_id=from_uuid("frq", first_id_at(old)))
    counts = [counted(merchant, 1, 0), counted(merchant, 2, 0, hours_ago=8 * 24)]
    await identity.publish_requests(failed=[of_old, failed(merchant)], counts=counts)
    await listed(tenant.owner, 2)

    await purge_request_log(identity.database, kept_days=7)

    assert [entry["id"] for entry in await listed(tenant.owner, 1)] != [of_old.failed_request_id]
    assert (await tenant.owner.read("/v1/request-log/counts"))["calls"] == 1
