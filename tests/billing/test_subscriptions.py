"""Billing from outside: events from Kafka, HTTP, events to Kafka."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from billing.app import create_app
from billing.subscriptions.tables import SubscriptionRow
from shared.access.credentials import new_api_key
from shared.events import billing as billing_events
from shared.ids import new_id
from tests.harness.access import REVOKE_KEY, change_meanwhile
from tests.harness.billing import TRIAL_DAYS, Billing, begin_trials
from tests.harness.client import document
from tests.harness.people import tenant_created
from tests.harness.services import open_database, serve
from tests.harness.waiting import eventually

SECOND = timedelta(seconds=1)
SOON = 10 * SECOND
"""Bound for "in time" on a busy machine."""


def instant(document: dict[str, str], name: str = "trial_ends_at") -> datetime:
    return datetime.fromisoformat(document[name])


async def test_a_trial_starts_when_the_tenant_is_created(billing: Billing) -> None:
    created = tenant_created()

    tenant = await billing.create_tenant(created)

    subscription = await billing.subscription(tenant)
    assert subscription["object"] == "subscription"
    assert subscription["status"] == "trialing"
    assert subscription["entitled"] is True
    assert instant(subscription) == created.time + timedelta(days=TRIAL_DAYS)
    assert subscription["access_until"] == subscription["trial_ends_at"]
    assert [subscription[name] for name in ("plan", "current_period_end", "cancel_at_period_end")] == [
        None,
        None,
        False,
    ]
    (event,) = await billing.events(tenant.id, "trial.started")
    assert isinstance(event.data, billing_events.SubscriptionState)
    assert event.data.access_until == instant(subscription)
    assert (event.subject, event.sequence) == (tenant.id, subscription["version"])


async def test_a_tenant_can_have_its_own_length_of_trial(billing: Billing) -> None:
    created = tenant_created(trial_days=3, test=True)

    tenant = await billing.create_tenant(created)

    subscription = await billing.subscription(tenant)
    assert instant(subscription) == created.time + timedelta(days=3)
    assert subscription["livemode"] is False


async def test_a_redelivered_tenant_changes_nothing(billing: Billing) -> None:
    created = tenant_created()
    tenant = await billing.create_tenant(created)
    await billing.extend(tenant.id, datetime.now(UTC) + timedelta(days=60))
    before = await billing.subscription(tenant)

    await billing.publish(created, created)
    await _caught_up(billing)

    assert await billing.subscription(tenant) == before
    await billing.events(tenant.id, "trial.started", "trial.extended")


async def test_the_end_of_a_trial_is_published_once_and_in_time(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    ends_at = datetime.now(UTC) + 3 * SECOND

    answer = await billing.extend(tenant.id, ends_at)

    assert answer.status_code == 200, answer.text
    *_, event = await billing.events(tenant.id, "trial.started", "trial.extended", "trial.expired")
    assert timedelta() <= event.time - ends_at < SOON
    assert event.data.status == "expired"
    subscription = await billing.subscription(tenant)
    assert (subscription["status"], subscription["entitled"], subscription["version"]) == ("expired", False, 3)
    assert instant(subscription) == ends_at


async def test_entitlement_ends_at_the_instant_without_any_event(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    ends_at = datetime.now(UTC) + 4 * SECOND
    await billing.extend(tenant.id, ends_at)
    database = open_database(billing.settings.database_url)

    before, after = list[httpx.Response](), list[httpx.Response]()
    async with database.transaction() as session:
        # Workers skip a locked row, so nobody can write that this trial has ended.
        await session.execute(
            select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant.id).with_for_update()
        )
        while len(after) < 10:
            asked_at = datetime.now(UTC)
            answer = await tenant.owner.get("/v1/billing/subscription")
            answered_at = datetime.now(UTC)
            if answered_at < ends_at:
                before.append(answer)
            elif asked_at >= ends_at:
                after.append(answer)
    await database.close()

    assert {answer.status_code for answer in before + after} == {200}
    assert {answer.headers["etag"] for answer in before}.isdisjoint(answer.headers["etag"] for answer in after)
    assert {answer.json()["entitled"] for answer in before} == {True}
    assert {answer.json()["entitled"] for answer in after} == {False}
    assert {answer.json()["status"] for answer in after} == {"trialing"}
    await billing.events(tenant.id, "trial.started", "trial.extended", "trial.expired")


async def test_an_expired_tenant_reads_its_subscription_and_can_be_extended(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))

    async def expired() -> bool:
        answer = await tenant.owner.get("/v1/billing/subscription")
        assert answer.status_code == 200
        return bool(answer.json()["status"] == "expired")

    await eventually(expired, what="the trial has expired")
    answer = await billing.extend(tenant.id, datetime.now(UTC) + timedelta(days=1))

    assert (answer.json()["status"], answer.json()["entitled"]) == ("trialing", True)
    permissions = await tenant.owner.read("/v1/permissions")
    assert permissions["subscription"]["entitled"] is True


@pytest.mark.parametrize(
    ("ends_at", "code"),
    [
        ("2020-01-01T00:00:00Z", "trial_end_passed"),
        ("9500-01-01T00:00:00Z", "trial_end_too_far"),
        ("9999-12-31T23:59:59-14:00", "instant_range"),
        ("2030-01-01T00:00:00", "instant_form"),
        ("2030-01-01", "instant_form"),
        ("1900000000", "instant_form"),
        (1900000000, "instant_form"),
        (None, "instant_form"),
        ("2030-02-30T00:00:00Z", "datetime_from_date_parsing"),
    ],
)
async def test_an_impossible_end_is_refused_with_its_pointer(billing: Billing, ends_at: object, code: str) -> None:
    tenant = await billing.create_tenant()

    answer = await billing.extend(tenant.id, ends_at)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/trial_ends_at"
    if code != "datetime_from_date_parsing":
        assert error["code"] == code
    assert (await billing.subscription(tenant))["version"] == 1


async def test_an_unknown_tenant_is_not_found(billing: Billing) -> None:
    answer = await billing.extend(new_id("ten"), datetime.now(UTC) + SECOND)

    assert answer.status_code == 404
    assert answer.json()["code"] == "subscription_not_found"


async def test_only_a_platform_key_extends_trials(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    path = f"/v1/billing/tenants/{tenant.id}/trial/extend"
    body = {"trial_ends_at": "2090-01-01T00:00:00Z"}

    refused = await tenant.owner.post(path, body)
    unknown = await billing.nobody.post(path, body)

    assert refused.status_code == 403
    assert refused.json()["required"] == ["platform.billing.write"]
    assert unknown.status_code == 401


async def test_the_subscription_is_shown_to_those_who_may_read_billing(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    accountant = await tenant.create_staff("billing.read")
    dispatcher = await tenant.create_staff("orders", "settings")

    allowed = await accountant.get("/v1/billing/subscription")
    refused = await dispatcher.get("/v1/billing/subscription")

    assert allowed.status_code == 200
    assert refused.status_code == 403
    assert refused.json()["required"] == ["billing.read"]


async def test_a_subscription_has_an_etag_and_checks_it(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    path, operator = "/v1/billing/subscription", billing.platform(tenant)
    ends_at = datetime.now(UTC) + timedelta(days=30)

    read_first = await operator.get(path)
    unchanged = await operator.get(path, headers={"If-None-Match": read_first.headers["etag"]})
    changed = await billing.extend(tenant.id, ends_at, headers={"If-Match": read_first.headers["etag"]})
    stale = await billing.extend(tenant.id, ends_at + SECOND, headers={"If-Match": read_first.headers["etag"]})

    assert unchanged.status_code == 304
    assert changed.status_code == 200
    assert changed.headers["etag"] != read_first.headers["etag"]
    assert stale.status_code == 412


async def test_extensions_and_the_end_of_a_trial_are_audited_once(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    before = await billing.subscription(tenant)
    ends_at = datetime.now(UTC) + timedelta(days=30)

    first = await billing.extend(
        tenant.id, ends_at, headers={"Idempotency-Key": "extend-once", "X-Request-Id": "req-1"}
    )
    repeated = await billing.extend(tenant.id, ends_at, headers={"Idempotency-Key": "extend-once"})
    satisfied = await billing.extend(tenant.id, ends_at)
    document(await billing.extend(tenant.id, datetime.now(UTC) + 3 * SECOND))

    assert repeated.headers["idempotency-replayed"] == "true"
    assert first.json() == repeated.json() == satisfied.json()
    extended, again, expired = await billing.audited(
        first.json()["id"], "trial.extended", "trial.extended", "trial.expired"
    )
    assert (extended.service, extended.tenant_id, extended.request_id) == ("billing", tenant.id, "req-1")
    assert (extended.actor_kind, extended.via, extended.actor) == ("platform", "platform_key", extended.credential_id)
    assert (extended.credential_id or "").startswith("key_")
    assert extended.address
    assert extended.before == {"trial_ends_at": before["trial_ends_at"], "access_until": before["access_until"]}
    assert extended.after == {name: first.json()[name] for name in ("trial_ends_at", "access_until")}
    assert again.before == extended.after
    assert (expired.actor, expired.actor_kind, expired.via, expired.address) == ("billing", "service", "service", "")
    assert (expired.before or {})["status"] == "trialing"
    assert (expired.after or {})["status"] == "expired"


async def test_two_replicas_publish_the_end_of_each_trial_once(billing: Billing) -> None:
    writer = open_database(billing.settings.database_url)
    async with serve(Billing, create_app, billing.settings):
        trials = await begin_trials(writer, 30, ends_in=3 * SECOND)
        late: list[timedelta] = []
        async with billing.consuming(billing_events.TOPIC) as consumer, asyncio.timeout(60):
            while len(late) < len(trials):
                event = billing.read(await consumer.getone())
                if event.type == "trial.expired" and event.tenant_id in trials:
                    late.append(event.time - trials[event.tenant_id])
            # More events would be repeats.
            more = await consumer.getmany(timeout_ms=1000)
    await writer.close()

    assert timedelta() <= min(late)
    assert max(late) < SOON
    again = [billing.read(record) for records in more.values() for record in records]
    assert not [event for event in again if event.tenant_id in trials]


async def test_the_worker_measures_how_late_it_is(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await billing.events(tenant.id, "trial.started", "trial.expired")

    exposition = (await billing.client.get("/metrics")).text

    assert 'waybill_task_lateness_seconds_count{kind="subscription_due"}' in exposition
    assert 'waybill_task_overdue_seconds{kind="subscription_due"}' in exposition


async def _caught_up(billing: Billing) -> None:
    """Wait until billing has handled all events published before."""
    connection = await asyncpg.connect(billing.settings.database_url)
    called_at = await connection.fetchval("SELECT now()")

    async def proven() -> bool:
        proofs = await connection.fetch("SELECT caught_up_at FROM consumer_progress")
        return bool(proofs) and all(proof["caught_up_at"] and proof["caught_up_at"] > called_at for proof in proofs)

    await eventually(proven, what="billing has caught up")
    await connection.close()


async def test_a_key_that_is_revoked_between_the_decision_and_the_write_extends_nothing(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    before = await billing.subscription(tenant)
    platform_key = new_api_key(livemode=True)
    issued = billing.people.key_issued("platform_key", platform_key, scopes=["platform", "billing"])
    await billing.publish_access(issued)
    operator = billing.nobody.using({"X-Api-Key": platform_key})

    async def extend() -> httpx.Response:
        ends_at = datetime.now(UTC) + timedelta(days=60)
        return await billing.extend(tenant.id, ends_at, operator=operator, headers={"Idempotency-Key": "late"})

    answer = await change_meanwhile(billing.settings.database_url, REVOKE_KEY, issued.subject, extend)

    assert (answer.status_code, answer.json()["code"]) == (401, "credential_revoked")
    assert await billing.subscription(tenant) == before
