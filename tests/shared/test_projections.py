"""What every service knows of a tenant's entitlement, and what does not touch the access projection."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.access import credentials, projection
from shared.access.principal_store import Lookup, load_principal
from shared.access.principals import Principal
from shared.events import Event, Vocabulary
from shared.events.billing import SubscriptionState, TrialExtended
from tests.harness.edge_app import EdgeTestApp
from tests.harness.people import Tenant, subscription

HOUR = timedelta(hours=1)


def entitlement(tenant: Tenant, **more: object) -> Event:
    """The next event of the tenant's subscription, whose trial ends in an hour."""
    tenant.version += 1
    base = subscription(tenant.id, datetime.now(UTC) + HOUR)
    state = SubscriptionState(**{**base.data.model_dump(), **more})
    return TrialExtended(tenant_id=tenant.id, subject=tenant.id, sequence=tenant.version, data=state)


async def known(edge: EdgeTestApp, lookup: Lookup) -> Principal:
    async with edge.service.database.reading() as session:
        principal = await load_principal(session, lookup, edge.service.peppers)
    assert principal is not None
    return principal


async def test_plan_and_features_are_known_of_every_caller_of_the_tenant(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    key = credentials.new_api_key(livemode=True)
    await edge.publish(edge.people.key_issued("platform_key", key, scopes=["platform"]))
    digest = edge.service.peppers.digest(key)

    await edge.publish(entitlement(tenant, plan="fleet", features={"webhook_endpoints": 10, "exports": True}))

    for lookup in (
        Lookup("subject", tenant.owner.subject_id),
        Lookup("subject", merchant.id),
        Lookup("account", merchant.account_id),
        Lookup("key", digest, tenant.id),
    ):
        principal = await known(edge, lookup)
        assert (principal.plan, principal.features) == ("fleet", {"webhook_endpoints": 10, "exports": True})
    alone = await known(edge, Lookup("key", digest))
    assert (alone.plan, alone.features, alone.clock_offset) == (None, {}, timedelta())


@pytest.mark.parametrize(("ends_in", "offset", "status"), [(HOUR, 2 * HOUR, 402), (-HOUR, -2 * HOUR, 200)])
async def test_402_is_decided_by_the_tenants_own_clock(
    edge: EdgeTestApp, ends_in: timedelta, offset: timedelta, status: int
) -> None:
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()

    ends_at = datetime.now(UTC) + ends_in
    event = entitlement(
        tenant, trial_ends_at=ends_at, access_until=ends_at, clock_offset_seconds=offset.total_seconds()
    )
    await edge.publish(event)

    assert (await tenant.owner.get("/v1/notes")).status_code == status
    written = await merchant.api.post("/v1/notes", {"text": "noon"})
    assert written.status_code == (402 if status == 402 else 201)


async def test_an_event_from_before_plans_existed_is_still_read(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    event = entitlement(tenant)
    value = json.loads(event.value())
    for name in ("features", "clock_offset_seconds", "plan"):
        del value[name]
    headers = {name: content.decode() for name, content in event.headers()}
    read = Vocabulary(*projection.ACCESS_EVENTS).read(headers, json.dumps(value).encode())
    assert read is not None

    await edge.publish(read)

    principal = await known(edge, Lookup("subject", tenant.owner.subject_id))
    assert (principal.plan, principal.features, principal.clock_offset) == (None, {}, timedelta())


@pytest.mark.parametrize("type_name", ["invoice.paid", "subscription.renamed", "trial"])
def test_what_is_no_access_event_is_not_read(type_name: str) -> None:
    headers = {"ce_type": type_name, "ce_subject": "ten_1", "ce_sequence": "1", "ce_id": "evt_1", "ce_time": "now"}

    # Not even its value is looked at.
    assert Vocabulary(*projection.ACCESS_EVENTS).read(headers, b"{") is None
