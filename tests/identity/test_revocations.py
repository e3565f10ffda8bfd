"""Receipts in identity: what replicas report is stored once, and for a day."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from identity.revocations.worker import purge_revocations
from shared.events.receipts import AppliedRevocation, ReplicaReport, ReplicaReported
from shared.ids import new_id, to_uuid
from tests.harness.client import refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.waiting import eventually

MINUTE = timedelta(minutes=1)


async def revoked(tenant: Tenant) -> str:
    """The id of a new revocation."""
    merchant = await tenant.create_merchant()
    answer = await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access")
    return str(answer.headers["Revocation-Id"])


async def event_of(identity: Identity, revocation_id: str) -> str:
    """The id of the event that the revocation published."""
    (record,) = await identity.records(
        "identity.events.v1", lambda one: ("ce_revocationid", revocation_id.encode()) in one.headers, count=1
    )
    return identity.read(record).id


def report(replica: str, *applied: AppliedRevocation, **more: Any) -> ReplicaReported:
    data = ReplicaReport(service="jobs", replica=replica, started_at=datetime.now(UTC), applied=list(applied), **more)
    return ReplicaReported(tenant_id=None, subject=f"jobs/{replica}", sequence=0, data=data)


async def told_by(tenant: Tenant, revocation_id: str, last: ReplicaReported) -> dict[str, Any]:
    """What the receipt tells of a replica of jobs, once its last report is stored."""

    async def found() -> dict[str, Any] | None:
        services = (await tenant.owner.read(f"/v1/revocations/{revocation_id}"))["services"]
        (jobs,) = [service for service in services if service["service"] == "jobs"]
        (one,) = [one for one in jobs["replicas"] if one["replica"] == last.data.replica] or [None]
        return one if one and datetime.fromisoformat(one["last_heard_at"]) >= last.time else None

    return await eventually(found, what="the report is stored")


async def test_the_lag_counts_the_revocations_of_the_tenant_alone(identity: Identity, tenant: Tenant) -> None:
    stranger = await identity.create_tenant()
    reader, other = await tenant.create_staff("settings.merchants.read"), await tenant.create_staff("orders")
    await revoked(stranger)

    before = await reader.read("/v1/revocation-lag")
    for _ in range(2):
        await revoked(tenant)
    after = await reader.read("/v1/revocation-lag")

    # Without other services nobody has said that all of them refuse.
    assert before == {"object": "revocation_lag", "revocations": 0, "incomplete": 0, "applied_after_ms_max": None}
    assert after == {"object": "revocation_lag", "revocations": 2, "incomplete": 2, "applied_after_ms_max": None}
    refused(await other.get("/v1/revocation-lag"), 403, "permission_missing")


async def test_a_report_that_comes_twice_and_one_of_what_nobody_knows_change_nothing(
    identity: Identity, tenant: Tenant
) -> None:
    revocation_id = await revoked(tenant)
    event_id, replica = await event_of(identity, revocation_id), new_id("evt")
    at = datetime.now(UTC) + MINUTE
    unknown = AppliedRevocation(revocation_id=new_id("rev"), event_id=event_id, applied_at=at)
    first = AppliedRevocation(revocation_id=revocation_id, event_id=event_id, applied_at=at)
    again = first.model_copy(update={"applied_at": at + MINUTE})

    for applied in ((unknown,), (first,), (again, first)):
        await identity.publish(report(replica, *applied))
    last = report(replica, stopping=True)
    await identity.publish(last)

    found = await told_by(tenant, revocation_id, last)
    assert found["state"] == "applied"
    assert 60_000 <= found["applied_after_ms"] < 120_000


async def test_the_time_until_replicas_refuse_is_a_metric(identity: Identity, tenant: Tenant) -> None:
    revocation_id = await revoked(tenant)

    async def counted() -> bool:
        told = await tenant.owner.read(f"/v1/revocations/{revocation_id}")
        return bool(told["services"][0]["complete"])

    await eventually(counted, what="identity itself has reported")
    metrics = (await identity.client.get("/metrics")).text
    (count,) = re.findall(r'^waybill_revocation_seconds_count\{service="identity"\} (\S+)$', metrics, re.MULTILINE)
    assert float(count) >= 1


async def test_receipts_are_kept_for_a_day(identity: Identity, tenant: Tenant) -> None:
    old, recent = await revoked(tenant), await revoked(tenant)
    async with identity.database.transaction() as session:
        await session.execute(
            text("UPDATE revocations SET revoked_at = now() - interval '25 hours' WHERE revocation_id = :id"),
            {"id": to_uuid(old)},
        )

    await purge_revocations(identity.database)

    refused(await tenant.owner.get(f"/v1/revocations/{old}"), 404, "revocation_not_found")
    assert (await tenant.owner.read(f"/v1/revocations/{recent}"))["id"] == recent
