"""What lists show of deliveries over midnight, after their endpoint was deleted, and after their event was deleted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from aiohttp import web

from shared.api import ANY_VERSION, Page, Paging
from shared.errors import Conflict
from shared.ids import first_id_at, from_uuid, new_id, to_uuid
from tests.harness.receiver import Receiver
from tests.harness.servers import Authority, serving
from tests.harness.stack import BackingStack
from tests.harness.tasks import replicas
from tests.harness.waiting import eventually
from tests.harness.webhooks import REPLAY_LIMITS, DeliveryHarness, Tenant, job_created
from webhooks.deliveries import details
from webhooks.deliveries import operations as deliveries_operations
from webhooks.deliveries import queries as deliveries_queries
from webhooks.deliveries.schemas import Delivery, DeliveryDetail, DeliveryFilters
from webhooks.endpoints import operations as endpoints_operations
from webhooks.events.worker import partition_maintenance
from webhooks.replays import operations as replays_operations
from webhooks.replays import worker as replays_worker
from webhooks.replays.schemas import Replay, ReplayIn

DAY = timedelta(days=1)


def event_at(tenant_id: str, at: datetime) -> Any:
    """An event of that instant."""
    event = job_created(tenant_id)
    random_bits = to_uuid(event.id).int & ((1 << 80) - 1)
    return event.model_copy(update={"id": from_uuid("evt", UUID(int=first_id_at(at).int | random_bits))})


async def page_of(harness: DeliveryHarness, cursor: str | None, limit: int, **asked: Any) -> Page[Delivery]:
    paging = Paging(limit=limit, cursor=cursor, scope="deliveries", secret=b"secret")
    async with harness.database.searching() as session:
        return await deliveries_queries.list_deliveries(
            session, harness.caller, paging, DeliveryFilters.model_construct(**asked), now=datetime.now(UTC)
        )


async def listed(harness: DeliveryHarness, **asked: Any) -> list[Delivery]:
    return (await page_of(harness, None, 50, **asked)).data


async def detail(harness: DeliveryHarness, delivery_id: str) -> DeliveryDetail:
    async with harness.database.reading() as session:
        return await details.get(session, harness.encryptor, harness.caller, delivery_id)


async def replay(harness: DeliveryHarness, endpoint_id: str, kind: str) -> Replay:
    """A replay of the last two days, once it has ended."""
    since = (datetime.now(UTC) - 2 * DAY).isoformat()
    wanted = ReplayIn.model_validate({"endpoint_id": endpoint_id, "kind": kind, "since": since})
    async with harness.database.transaction() as session:
        made = await replays_operations.create(session, REPLAY_LIMITS, harness.actor, wanted, datetime.now(UTC))

    async def ended() -> Replay | None:
        async with harness.database.reading() as session:
            found = await replays_operations.get(session, harness.caller, made.id)
        return found if found.status != "running" else None

    async with replicas(harness.database.url, replays_worker.task_kind()):
        return await eventually(ended, what="the replay has ended")


async def test_attempts_after_midnight_are_shown_with_those_of_before(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert await partition_maintenance(harness.database).run_once(today - DAY, kept=30)
    answers = [500, 500, 200]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0))

    async with serving(answer) as url, harness.delivering(schedule=(0.05,) * 5) as worker:
        await harness.endpoint(url)
        event = event_at(harness.tenant_id, today - timedelta(milliseconds=1))
        await harness.publish(event, dispatcher=worker)
        await harness.finished(event.id)

    (found,) = await listed(harness)
    (at_day_end,) = await listed(harness, created_from=today - timedelta(seconds=1), created_before=today)
    shown = await detail(harness, found.id)
    places = await harness.rows("SELECT DISTINCT tableoid::regclass::text AS name FROM attempts")
    assert [row.name for row in places] == [f"attempts_{today - DAY:%Y%m%d}"]
    assert [(one.number, one.response_status) for one in shown.attempts] == [(1, 500), (2, 500), (3, 200)]
    assert all(one.started_at >= today for one in shown.attempts)
    assert found.id == at_day_end.id == shown.id
    assert found.created_at < today
    assert await listed(harness, created_from=today) == []
    await harness.database.close()


async def test_pages_continue_over_midnight(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    now = datetime.now(UTC)
    maintenance = partition_maintenance(harness.database)
    for back in (12, 8, 4):
        assert await maintenance.run_once(now - back * DAY, kept=30)
    await harness.endpoint("http://127.0.0.1:9999/a")
    await harness.endpoint("http://127.0.0.1:9999/b")
    # One for each of 14 days, two that are too old for a partition, and some that are ahead of this clock.
    instants = [now - n * DAY / 2 for n in range(28)] + [now - 25 * DAY, now + DAY / 2, now + 10 * DAY]
    events = [event_at(harness.tenant_id, at) for at in instants]
    await harness.publish(*events)

    conditions: list[dict[str, Any]] = [{}, {"event_type": "job.created"}, {"status": "pending"}]
    for asked in conditions:
        found: list[str] = []
        cursor = None
        while True:
            page = await page_of(harness, cursor, 3, **asked)
            found += [one.event_id for one in page.data]
            cursor = page.next_cursor
            if not page.has_more:
                break
        assert found == sorted((event.id for event in events for _ in range(2)), reverse=True)
    await harness.database.close()


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
async def test_any_instant_can_be_asked_for(tenant: Tenant, receiver: Receiver, instant: str) -> None:
    await tenant.create_endpoint(receiver.url())
    await tenant.publish_job()
    await tenant.delivered(1)

    for more in ("", "&event_type=job.created"):
        since = await tenant.deliveries(f"?created_from={instant}{more}")
        assert len(since) == (0 if instant.startswith("9") else 1)
        assert (await tenant.owner.get(f"/v1/events?created_from={instant}{more}")).status_code == 200
    before = await tenant.deliveries(f"?created_before={instant}&event_type=job.created")
    assert len(before) == (1 if instant.startswith("9") else 0)


async def test_deliveries_are_found_by_job_reference_event_cause_and_class_of_response(
    tenant: Tenant, receiver: Receiver
) -> None:
    receiver.answer = lambda request: 500 if request.path == "/down" else 200
    await tenant.create_endpoint(receiver.url("/up"))
    await tenant.create_endpoint(receiver.url("/down"))
    references = (None, 'C-1001 "é"\\{,}', "C-1002")
    events = [await tenant.publish_job(reference_id=reference) for reference in references]

    async def all_attempted() -> bool:
        found = await tenant.deliveries()
        return len(found) == 6 and all(one["attempts_made"] for one in found)

    await eventually(all_attempted, what="all deliveries were attempted")
    job_id = events[1].subject

    of_job = await tenant.deliveries(f"?job_id={job_id}")
    of_reference = [await tenant.deliveries(f"?job_reference={quote(str(one))}") for one in (*references, "c-1002")]
    of_event = await tenant.deliveries(f"?event_id={events[1].id}")
    failed = await tenant.deliveries("?cause=status")
    answered = {status: await tenant.deliveries(f"?response_class={status}") for status in ("2xx", "4xx", "5xx")}
    both = await tenant.deliveries(f"?job_id={job_id}&cause=status&response_class=5xx")

    assert [one["event_id"] for one in of_job] == [events[1].id] * 2
    found = [[one["event_id"] for one in listed] for listed in of_reference]
    assert found == [[], [events[1].id] * 2, [events[2].id] * 2, []]
    assert {one["id"] for one in of_event} == {one["id"] for one in of_job}
    assert {one["event_id"] for one in failed} == {event.id for event in events}
    assert len(failed) == 3
    assert [len(found) for found in answered.values()] == [3, 0, 3]
    assert [(one["event_id"], one["response_status"]) for one in both] == [(events[1].id, 500)]
    assert await tenant.deliveries(f"?job_id={new_id('job')}") == []
    stranger = await tenant.service.create_tenant()
    for asked in (f"job_id={job_id}", "job_reference=C-1002", f"event_id={events[1].id}", "cause=status"):
        assert await stranger.deliveries(f"?{asked}") == []
    for wrong in ("job_id=evt_1", "event_id=job_1", "cause=bad_luck", "response_class=200", "job_reference="):
        assert (await tenant.owner.get(f"/v1/deliveries?{wrong}")).status_code == 422


async def test_a_delivery_says_why_tls_failed(tenant: Tenant, tmp_path: Path) -> None:
    async def accept(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(accept, tls=Authority(tmp_path).server("127.0.0.1", own=True)) as url:
        made = await tenant.create_endpoint(url)
        tested = (await tenant.owner.post(f"/v1/webhook-endpoints/{made['id']}/test")).json()["attempt"]
        await tenant.publish_job()

        async def tried_again() -> Any:
            found = await tenant.deliveries("?cause=tls")
            return found[0] if found and found[0]["attempts_made"] > 1 else None

        found = await eventually(tried_again, what="the delivery was tried twice")
    shown = (await tenant.owner.get(f"/v1/deliveries/{found['id']}")).json()

    assert (tested["cause"], tested["cause_detail"]) == ("tls", "self_signed")
    assert (found["cause"], found["cause_detail"]) == ("tls", "self_signed")
    assert {(one["cause"], one["cause_detail"]) for one in shown["attempts"]} == {("tls", "self_signed")}


async def test_deliveries_of_a_deleted_endpoint_are_still_shown(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    await tenant.publish_job()
    (delivery,) = await tenant.delivered(1)
    answer = await tenant.owner.delete(f"/v1/webhook-endpoints/{made['id']}")
    assert answer.status_code == 204, answer.text

    (found,) = await tenant.deliveries(f"?endpoint_id={made['id']}")
    shown = await tenant.owner.get(f"/v1/deliveries/{delivery['id']}")
    again = await tenant.owner.post(f"/v1/deliveries/{delivery['id']}/resend")
    body = {"endpoint_id": made["id"], "kind": "failed", "since": delivery["created_at"]}
    ordered = await tenant.owner.post("/v1/replays", body)
    stats = await tenant.owner.get(f"/v1/webhook-endpoints/{made['id']}/stats")

    assert found["id"] == delivery["id"]
    assert [one["response_status"] for one in shown.json()["attempts"]] == [200]
    assert (again.status_code, again.json()["code"]) == (409, "endpoint_deleted")
    assert (ordered.status_code, stats.status_code) == (404, 404)


async def test_what_waits_for_a_deleted_endpoint_is_given_up_and_shown(
    harness: DeliveryHarness, receiver: Receiver
) -> None:
    endpoint_id = await harness.endpoint(receiver.url())
    event_id = await harness.publish_job()
    async with harness.database.transaction() as session:
        await endpoints_operations.delete(session, harness.actor, endpoint_id, ANY_VERSION, datetime.now(UTC))

    async with harness.delivering():
        await harness.finished(event_id)

    (found,) = await listed(harness, status="failed", endpoint_id=endpoint_id)
    assert (found.event_id, found.failure, found.attempts_made) == (event_id, "endpoint_deleted", 0)
    assert receiver.count == 0


async def test_a_delivery_outlives_its_event(harness: DeliveryHarness, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    endpoint_id = await harness.endpoint(receiver.url())
    async with harness.delivering(schedule=(0.02,)) as worker:
        event_id = await harness.publish_job(worker)
        await harness.finished(event_id)
    await harness.rows("DELETE FROM events WHERE id = :id RETURNING 1", id=to_uuid(event_id))

    (found,) = await listed(harness)
    shown = await detail(harness, found.id)
    at_location = await listed(harness, location_id=new_id("loc"))
    ended = await replay(harness, endpoint_id, "failed")
    with pytest.raises(Conflict) as refused:
        async with harness.database.transaction() as session:
            await deliveries_operations.resend(session, harness.actor, found.id)

    assert [one.response_status for one in shown.attempts] == [500, 500]
    assert at_location == []
    assert (ended.status, ended.examined, ended.matched) == ("completed", 1, 0)
    assert refused.value.problem_code == "event_not_kept"
    assert await harness.queued() == []


async def test_a_delivery_that_waits_longer_than_its_event_is_stored_blocks_no_other(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    now = datetime.now(UTC)
    await harness.endpoint("http://127.0.0.1:9999/never", ordered_by_job=True)
    # Too old for a partition of its own: it is in the default partition, and the next delivery of its job waits for it.
    old = event_at(harness.tenant_id, now - 40 * DAY)
    young = job_created(harness.tenant_id).model_copy(update={"subject": old.subject})
    await harness.publish(old)
    await harness.publish(young)
    before = {row.event_id: row.due_at.year == 9999 for row in await harness.rows(DUE)}

    assert await partition_maintenance(harness.database).run_once(now, kept=30)

    after = await harness.rows(DUE)
    assert set(before) == {to_uuid(old.id), to_uuid(young.id)}
    assert before[to_uuid(young.id)]
    assert [(row.event_id, row.due_at.year == 9999) for row in after] == [(to_uuid(young.id), False)]
    assert [one.event_id for one in await listed(harness)] == [young.id]
    await harness.database.close()


DUE = "SELECT event_id, least(due_at, '9999-01-01') AS due_at FROM delivery_due ORDER BY event_id"
