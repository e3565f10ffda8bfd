"""Sending again: one delivery, or a replay of failed, missed or matching events in the background."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import new_id, to_uuid
from shared.tasks import Attempted
from tests.harness.client import document
from tests.harness.receiver import Receiver
from tests.harness.tasks import replicas
from tests.harness.waiting import eventually
from tests.harness.webhooks import REPLAY_LIMITS, DeliveryHarness, Tenant, Webhooks, job_created
from webhooks.replays import operations, worker
from webhooks.replays.operations import REPLAY_STEP
from webhooks.replays.schemas import Replay, ReplayIn

PATH = "/v1/webhook-endpoints"
OF_ALL: dict[str, Any] = {"kind": "deliveries"}
"""A replay of everything that the list of deliveries shows."""


def ago(**more: float) -> str:
    return (datetime.now(UTC) - timedelta(**more)).isoformat()


async def order(tenant: Tenant, endpoint_id: str, kind: str, **more: Any) -> dict[str, Any]:
    body = {"endpoint_id": endpoint_id, "kind": kind, "since": ago(hours=1), **more}
    return document(await tenant.owner.post("/v1/replays", body), 201)


async def ended(tenant: Tenant, replay_id: str) -> dict[str, Any]:
    """The replay once it has ended."""

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = await tenant.owner.read(f"/v1/replays/{replay_id}")
        return found if found["status"] != "running" else None

    return await eventually(look, what="the replay has ended")


async def listed(tenant: Tenant, query: str, count: int) -> list[dict[str, Any]]:
    """The deliveries, once there are so many."""

    async def look() -> list[dict[str, Any]] | None:
        found = await tenant.deliveries(query)
        return found if len(found) == count else None

    return await eventually(look, what=f"{count} deliveries {query}")


async def stored(tenant: Tenant, count: int) -> None:
    """Wait until that many events are stored."""

    async def look() -> bool:
        return len((await tenant.owner.read("/v1/events"))["data"]) == count

    await eventually(look, what=f"{count} events")


def has_received(receiver: Receiver, count: int) -> bool:
    return receiver.count >= count


# -- one delivery --------------------------------------------------------------------------------------------------------


async def test_one_delivery_is_sent_again_whatever_its_status(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda request: 200 if receiver.count > 1 else 500
    made = await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[])
    await tenant.publish_job()
    (failed,) = await listed(tenant, "?status=failed", 1)

    for count in (1, 2):
        answer = await tenant.owner.post(f"/v1/deliveries/{failed['id']}/resend")
        assert answer.status_code == 202, answer.text
        assert (answer.json()["status"], answer.json()["failure"]) == ("pending", None)
        await receiver.wait_for(partial(has_received, receiver, count + 1))
        await listed(tenant, "?status=delivered", 1)

    detail = await tenant.owner.read(f"/v1/deliveries/{failed['id']}")
    assert {request.webhook_id for request in receiver.requests} == {failed["event_id"]}
    assert [(one["number"], one["result"]) for one in detail["attempts"]] == [
        (1, "failed"),
        (2, "delivered"),
        (3, "delivered"),
    ]
    assert detail["attempts"][0]["first_byte_ms"] is not None
    await tenant.owner.post(f"{PATH}/{made['id']}/disable")
    off = await tenant.owner.post(f"/v1/deliveries/{failed['id']}/resend")
    assert (off.status_code, off.json()["code"]) == (409, "endpoint_disabled")


async def test_a_delivery_that_waits_for_its_retry_is_tried_at_once(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda request: 200 if receiver.count > 1 else 500
    await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[3600])
    await tenant.publish_job()
    await receiver.next_request()
    (waiting,) = await listed(tenant, "?status=pending", 1)
    assert waiting["next_attempt_at"] is not None

    assert (await tenant.owner.post(f"/v1/deliveries/{waiting['id']}/resend")).status_code == 202

    await receiver.next_request()
    await listed(tenant, "?status=delivered", 1)


async def test_a_repeated_resend_under_one_key_sends_once(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url())
    await tenant.publish_job()
    (delivery,) = await listed(tenant, "?status=delivered", 1)

    for _ in range(2):
        headers = {"Idempotency-Key": "again"}
        answer = await tenant.owner.post(f"/v1/deliveries/{delivery['id']}/resend", headers=headers)
        assert answer.status_code == 202
        await receiver.wait_for(lambda: receiver.count == 2)
        await listed(tenant, "?status=delivered", 1)

    assert receiver.count == 2


async def test_deliveries_are_filtered_by_location(tenant: Tenant, receiver: Receiver) -> None:
    here, there = await tenant.create_location(), await tenant.create_location()
    await tenant.create_endpoint(receiver.url())
    at_both, _ = await tenant.publish_job(here, there), await tenant.publish_job(there)

    await listed(tenant, "", 2)
    found = await listed(tenant, f"?location_id={here}&status=delivered", 1)
    nothing = await tenant.deliveries(f"?location_id={new_id('loc')}")

    assert found[0]["event_id"] == at_both.id
    assert nothing == []


# -- replays -------------------------------------------------------------------------------------------------------------


async def test_what_failed_is_recovered(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    made = await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[])
    events = [await tenant.publish_job() for _ in range(4)]
    await listed(tenant, "?status=failed", 4)
    receiver.answer = lambda _: 200

    dry = await ended(tenant, (await order(tenant, made["id"], "failed", dry_run=True))["id"])
    assert (dry["status"], dry["matched"], dry["queued"], dry["progress"]) == ("completed", 4, 0, 1.0)
    assert len(await tenant.deliveries("?status=failed")) == 4
    replay = await ended(tenant, (await order(tenant, made["id"], "failed"))["id"])

    assert (replay["status"], replay["examined"], replay["matched"], replay["queued"]) == ("completed", 4, 4, 4)
    await listed(tenant, "?status=delivered", 4)
    assert Counter(one.webhook_id for one in receiver.requests) == {event.id: 2 for event in events}
    again = await ended(tenant, (await order(tenant, made["id"], "failed"))["id"])
    assert again["matched"] == 0


async def test_what_was_never_sent_is_replayed_and_nothing_else(tenant: Tenant, receiver: Receiver) -> None:
    here, there = await tenant.create_location(), await tenant.create_location()
    other = await tenant.create_endpoint(receiver.url("/other"))
    before = [await tenant.publish_job(here), await tenant.publish_job(there)]
    await listed(tenant, "?status=delivered", 2)
    late = await tenant.create_endpoint(receiver.url("/late"), location_ids=[here])
    await tenant.publish_job(here)
    await receiver.wait_for(lambda: len(receiver.at("/late")) == 1)

    replay = await ended(tenant, (await order(tenant, late["id"], "missing"))["id"])

    assert (replay["status"], replay["matched"], replay["queued"]) == ("completed", 1, 1)
    await receiver.wait_for(lambda: len(receiver.at("/late")) == 2)
    assert receiver.at("/late")[1].webhook_id == before[0].id
    await listed(tenant, f"?endpoint_id={late['id']}&status=delivered", 2)
    await listed(tenant, f"?endpoint_id={other['id']}&status=delivered", 3)
    assert len(receiver.at("/other")) == 3


async def test_a_filter_sends_again_what_was_delivered(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    events = [await tenant.publish_job() for _ in range(3)]
    await listed(tenant, "?status=delivered", 3)

    nothing = await ended(tenant, (await order(tenant, made["id"], "filter", event_types=["job.updated"]))["id"])
    all_of_it = await ended(tenant, (await order(tenant, made["id"], "filter", event_types=["job.*"]))["id"])

    assert (nothing["examined"], nothing["matched"]) == (3, 0)
    assert all_of_it["queued"] == 3
    await receiver.wait_for(lambda: receiver.count == 6)
    assert Counter(one.webhook_id for one in receiver.requests) == {event.id: 2 for event in events}


OF_LISTS: dict[str, tuple[str, int]] = {
    "everything": ("", 8),
    "what failed": ("status=failed", 2),
    "what was delivered": ("status=delivered", 4),
    "what waits for a retry": ("status=pending", 2),
    "an endpoint": ("endpoint_id={down}", 2),
    "a cause": ("cause=status", 4),
    "a class of responses": ("response_class=5xx&status=failed", 2),
    "a status of responses": ("response_status=503", 2),
    "a location": ("location_id={here}", 4),
    "a type": ("event_type=job.created&endpoint_id={up}", 2),
    "a type of nothing": ("event_type=job.updated", 0),
    "a job": ("job_id={job}", 4),
    "the reference of a job": ("job_reference=R-1&status=failed", 1),
    "an event": ("event_id={event}&endpoint_id={up}", 1),
    "since an instant": ("created_from={later}", 4),
    "before an instant": ("created_before={later}&status=delivered", 2),
}
"""Filters of the list, and how many of eight match: two jobs, each to two endpoints that work, one that fails, one that is retried."""


@pytest.mark.parametrize("asked", OF_LISTS)
async def test_what_a_list_shows_is_counted_and_sent_again_and_nothing_else(
    tenant: Tenant, receiver: Receiver, asked: str
) -> None:
    receiver.answer = lambda request: {"/down": 503, "/slow": 500}.get(request.path, 200)
    here, there = await tenant.create_location(), await tenant.create_location()
    retries = {"/down": [], "/slow": [3600]}
    made = {
        path: await tenant.create_endpoint(receiver.url(path), retry_schedule_seconds=retries.get(path))
        for path in ("/up", "/other", "/down", "/slow")
    }
    first = await tenant.publish_job(here, reference_id="R-1")
    await attempted(tenant, 4)
    second = await tenant.publish_job(there, reference_id="R-2")
    await attempted(tenant, 8)
    later = datetime.fromtimestamp((to_uuid(second.id).int >> 80) / 1000, UTC).isoformat().replace("+00:00", "Z")
    names = {path[1:]: endpoint["id"] for path, endpoint in made.items()}
    query, count = OF_LISTS[asked]
    query = query.format(**names, here=here, job=first.subject, event=first.id, later=later)
    expected = await listed(tenant, f"?{query}", count)
    paths = {endpoint["id"]: path for path, endpoint in made.items()}
    before = receiver.count

    wanted = dict(part.split("=", 1) for part in query.split("&") if part)
    ends = {"since": wanted.pop("created_from", None), "until": wanted.pop("created_before", None)}
    body: dict[str, Any] = {"kind": "deliveries", "endpoint_id": wanted.pop("endpoint_id", None), **ends}
    if "response_status" in wanted:
        body["deliveries"] = {"response_status": int(wanted["response_status"])}
    else:
        body["deliveries"] = wanted
    dry = await ended(tenant, document(await tenant.owner.post("/v1/replays", {**body, "dry_run": True}), 201)["id"])
    run = await ended(tenant, document(await tenant.owner.post("/v1/replays", body), 201)["id"])

    assert (dry["status"], dry["matched"], dry["skipped"], dry["queued"]) == ("completed", count, 0, 0)
    assert (run["status"], run["matched"], run["skipped"], run["queued"]) == ("completed", count, 0, count)
    await receiver.wait_for(partial(has_received, receiver, before + count))
    sent = Counter((one.path, one.webhook_id) for one in receiver.requests[before:])
    assert sent == Counter((paths[one["endpoint_id"]], one["event_id"]) for one in expected)


async def attempted(tenant: Tenant, count: int) -> None:
    """Wait until so many deliveries have had their first attempt."""

    async def look() -> bool:
        return len([one for one in await tenant.deliveries() if one["attempts_made"]]) == count

    await eventually(look, what=f"{count} deliveries were attempted")


async def test_deliveries_to_an_endpoint_that_is_off_are_counted_and_not_sent(
    tenant: Tenant, receiver: Receiver
) -> None:
    on, off = await tenant.create_endpoint(receiver.url("/on")), await tenant.create_endpoint(receiver.url("/off"))
    await tenant.publish_job()
    await listed(tenant, "?status=delivered", 2)
    await tenant.owner.post(f"{PATH}/{off['id']}/disable")

    dry = await ended(tenant, document(await tenant.owner.post("/v1/replays", OF_ALL | {"dry_run": True}), 201)["id"])
    run = await ended(tenant, document(await tenant.owner.post("/v1/replays", OF_ALL), 201)["id"])
    refused = await tenant.owner.post("/v1/replays", OF_ALL | {"endpoint_id": off["id"]})

    assert (dry["matched"], dry["skipped"], dry["endpoint_id"]) == (2, 1, None)
    assert (run["matched"], run["skipped"], run["queued"]) == (2, 1, 1)
    await receiver.wait_for(lambda: len(receiver.at("/on")) == 2)
    await listed(tenant, f"?endpoint_id={on['id']}&status=delivered", 1)
    assert len(receiver.at("/off")) == 1
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_disabled")


async def test_enabling_can_replay_what_was_missed(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    made = await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[5])
    one = f"{PATH}/{made['id']}"
    given_up = await tenant.publish_job()
    await receiver.next_request()
    await listed(tenant, "?status=pending", 1)
    off = (await tenant.owner.post(f"{one}/disable")).json()
    # When the pending delivery has failed, the service knows that the endpoint is disabled.
    await listed(tenant, "?status=failed", 1)
    missed = [await tenant.publish_job() for _ in range(3)]
    await stored(tenant, 4)
    receiver.answer = lambda _: 200
    writer = await tenant.create_staff("settings.webhooks.write")

    refused = await writer.post(f"{one}/enable?replay_missed=true")
    still = await tenant.owner.read(one)
    enabled = await tenant.owner.post(f"{one}/enable?replay_missed=true")

    assert off["disabled_at"] is not None
    assert (refused.status_code, refused.json()["code"], still["enabled"]) == (403, "permission_missing", False)
    assert enabled.status_code == 200, enabled.text
    assert (enabled.json()["enabled"], enabled.json()["disabled_at"]) == (True, None)
    replay = await ended(tenant, enabled.json()["replay_id"])
    assert (replay["status"], replay["queued"]) == ("completed", 4)
    await listed(tenant, "?status=delivered", 4)
    delivered = {request.webhook_id for request in receiver.requests}
    assert delivered == {given_up.id, *(event.id for event in missed)}
    plain = (await tenant.owner.post(f"{one}/enable?replay_missed=true")).json()
    assert plain["replay_id"] is None


async def test_a_replay_keeps_its_rate_and_can_be_cancelled(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    for _ in range(8):
        await tenant.publish_job()
    await listed(tenant, "?status=delivered", 8)

    slow = await order(tenant, made["id"], "filter", rate_per_second=1)
    await receiver.wait_for(lambda: receiver.count >= 10)
    cancelled = await tenant.owner.post(f"/v1/replays/{slow['id']}/cancel")
    again = await tenant.owner.post(f"/v1/replays/{slow['id']}/cancel")

    assert cancelled.status_code == 200, cancelled.text
    queued = cancelled.json()["queued"]
    assert (cancelled.json()["status"], 2 <= queued < 8) == ("cancelled", True)
    assert 0 < cancelled.json()["progress"] < 1
    assert again.json() == cancelled.json()
    await receiver.wait_for(partial(has_received, receiver, 8 + queued))
    await asyncio.sleep(1.5)
    assert receiver.count == 8 + queued
    done = await ended(tenant, (await order(tenant, made["id"], "failed"))["id"])
    late = await tenant.owner.post(f"/v1/replays/{done['id']}/cancel")
    assert (late.status_code, late.json()["current_status"], late.json()["allowed_transitions"]) == (
        409,
        "completed",
        [],
    )


async def test_a_replay_ends_with_its_endpoint(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    for _ in range(4):
        await tenant.publish_job()
    await listed(tenant, "?status=delivered", 4)
    slow = await order(tenant, made["id"], "filter", rate_per_second=1)
    await tenant.owner.post(f"{PATH}/{made['id']}/disable")

    stopped = await ended(tenant, slow["id"])
    body = {"endpoint_id": made["id"], "kind": "missing", "since": ago(hours=1)}
    refused = await tenant.owner.post("/v1/replays", body)
    counted = await tenant.owner.post("/v1/replays", {**body, "kind": "filter", "dry_run": True})

    assert (stopped["status"], stopped["failure"]) == ("failed", "endpoint_disabled")
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_disabled")
    assert (await ended(tenant, counted.json()["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"since": "2999-01-01T00:00:00Z"}, "/since", "range_empty"),
        ({"until": "2020-01-01T00:00:00Z"}, "/since", "range_empty"),
        ({"since": "yesterday"}, "/since", "instant_form"),
        ({"kind": "all"}, "/kind", "literal_error"),
        ({"rate_per_second": 0}, "/rate_per_second", "greater_than_equal"),
        ({"event_types": []}, "/event_types", "too_short"),
        ({"endpoint_id": "job_01h455vb4pex5vsknk084sn02q"}, "/endpoint_id", "id_kind"),
        ({"endpoint_id": None}, "/endpoint_id", "missing"),
        ({"since": None}, "/since", "missing"),
        ({"deliveries": {"cause": "dns"}}, "/deliveries", "not_for_kind"),
        ({"kind": "deliveries", "event_types": ["*"]}, "/event_types", "not_for_kind"),
        ({"kind": "deliveries", "deliveries": {"cause": "rain"}}, "/deliveries/cause", "literal_error"),
        ({"kind": "deliveries", "deliveries": {"response_status": "503"}}, "/deliveries/response_status", "int_type"),
        ({"kind": "deliveries", "deliveries": {"endpoint": "x"}}, "/deliveries/endpoint", "extra_forbidden"),
    ],
)
async def test_an_impossible_replay_is_refused_with_its_reason(
    tenant: Tenant, change: dict[str, Any], pointer: str, code: str
) -> None:
    made = await tenant.create_endpoint()
    body = {"endpoint_id": made["id"], "kind": "failed", "since": ago(hours=1)}

    refused = await tenant.owner.post("/v1/replays", {**body, **change})

    assert refused.status_code == 422, refused.text
    assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [(pointer, code)]


async def test_replays_are_for_those_who_may_replay(service: Webhooks, tenant: Tenant) -> None:
    made = await tenant.create_endpoint()
    replay = await order(tenant, made["id"], "missing")
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    writer = await tenant.create_staff("settings.webhooks.read", "settings.webhooks.write")
    replayer = await tenant.create_staff("settings.webhooks.replay")
    stranger = await service.create_tenant()
    body = {"endpoint_id": made["id"], "kind": "failed", "since": ago(hours=1)}
    routes: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"/v1/replays/{replay['id']}", {}),
        ("POST", "/v1/replays", {"json": body}),
        ("POST", f"/v1/replays/{replay['id']}/cancel", {}),
        ("POST", f"/v1/deliveries/{new_id('dlv')}/resend", {}),
    ]

    for method, path, more in routes:
        for caller in (merchant.api, session, writer):
            assert (await caller.request(method, path, **more)).status_code == 403, path
        assert (await stranger.owner.request(method, path, **more)).status_code == 404, path
    assert (await stranger.owner.read("/v1/replays"))["data"] == []
    mine = (await replayer.read(f"/v1/replays?endpoint_id={made['id']}"))["data"]
    assert [one["id"] for one in mine] == [replay["id"]]


async def test_a_tenant_has_a_limit_of_running_replays(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    limit = tenant.service.settings.replays_max
    # Each replay makes one of them pending and passes by those of others: with more, none completes.
    for _ in range(2 * limit):
        await tenant.publish_job()
    await listed(tenant, "?status=delivered", 2 * limit)
    running = [await order(tenant, made["id"], "filter", rate_per_second=0.1) for _ in range(limit)]

    body = {"endpoint_id": made["id"], "kind": "failed", "since": ago(hours=1)}
    beyond = await tenant.owner.post("/v1/replays", body)
    for one in running:
        await tenant.owner.post(f"/v1/replays/{one['id']}/cancel")

    assert (beyond.status_code, beyond.json()["code"]) == (409, "replay_limit_reached")
    assert (await tenant.owner.post("/v1/replays", body)).status_code == 201


# -- step by step --------------------------------------------------------------------------------------------------------


async def ordered(harness: DeliveryHarness, endpoint_id: str, **more: Any) -> Replay:
    values = {"endpoint_id": endpoint_id, "kind": "missing", "since": datetime.now(UTC) - timedelta(hours=1), **more}
    wanted = ReplayIn.model_validate({**values, "since": values["since"].isoformat()})
    async with harness.database.transaction() as session:
        return await operations.create(session, REPLAY_LIMITS, harness.actor, wanted, datetime.now(UTC))


async def seen(harness: DeliveryHarness, replay: Replay) -> Replay:
    async with harness.database.reading() as session:
        return await operations.get(session, harness.caller, replay.id)


async def completed(harness: DeliveryHarness, replay: Replay) -> Replay:
    """The replay once it has ended. It waits while any transaction is open in any database of this server."""

    async def ended() -> Replay | None:
        found = await seen(harness, replay)
        return found if found.status != "running" else None

    async with replicas(harness.database.url, worker.task_kind()):
        return await eventually(ended, what="the replay has ended")


async def test_a_step_that_dies_is_taken_again_and_queues_nothing_twice(harness: DeliveryHarness) -> None:
    await harness.rows("DELETE FROM replays RETURNING 1")
    events = [job_created(harness.tenant_id) for _ in range(3)]
    await harness.publish(*events)
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    replay = await ordered(harness, endpoint_id)

    class Dies(Exception):
        pass

    async def die(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        await worker.task_kind().record(session, attempted)
        raise Dies

    async with replicas(harness.database.url, replace(worker.task_kind(), record=die)) as (dying,):
        await dying.until("waybill_task_attempts_total", 1, kind=REPLAY_STEP, result="failed")
    between, queued = await seen(harness, replay), await harness.queued()
    await harness.rows("UPDATE tasks SET next_at = now() RETURNING 1")

    after = await completed(harness, replay)
    assert (between.examined, queued) == (0, [])
    assert (after.status, after.queued) == ("completed", 3)
    assert {row.event_id for row in await harness.queued()} == {to_uuid(event.id) for event in events}


async def test_two_workers_never_take_one_step_twice(harness: DeliveryHarness) -> None:
    await harness.rows("DELETE FROM replays RETURNING 1")
    await harness.publish(*(job_created(harness.tenant_id) for _ in range(60)))
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    replay = await ordered(harness, endpoint_id, rate_per_second=100)

    async def ended() -> bool:
        return (await seen(harness, replay)).status != "running"

    async with replicas(harness.database.url, worker.task_kind(), count=3):
        await eventually(ended, what="the replay has ended")

    after = await seen(harness, replay)
    assert (after.status, after.examined, after.matched, after.queued) == ("completed", 60, 60, 60)
    assert len(await harness.queued()) == 60


async def test_what_is_in_flight_is_not_missing(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.rows("DELETE FROM replays RETURNING 1")
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    await harness.know_endpoints()
    dispatcher = harness.dispatcher()
    # A dispatcher that does not run: the deliveries that it accepts stay in its batch lease.
    dispatcher._first.open()
    event_id = await harness.publish_job(dispatcher)
    assert len(await harness.batch_leases()) == 1
    replay = await ordered(harness, endpoint_id)

    after = await completed(harness, replay)
    assert (after.status, after.examined, after.matched) == ("completed", 1, 0)
    assert await harness.delivery(event_id) is None


async def test_a_replay_waits_while_the_queue_is_long(harness: DeliveryHarness) -> None:
    await harness.rows("DELETE FROM replays RETURNING 1")
    endpoint_id = await harness.endpoint("http://127.0.0.1:9999/never")
    await harness.rows(
        "INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry) SELECT gen_random_uuid(), :id, now(), true"
        " FROM generate_series(1, 5000) RETURNING 1",
        id=to_uuid(endpoint_id),
    )
    replay = await ordered(harness, endpoint_id)

    async with replicas(harness.database.url, worker.task_kind()) as (waiting,):
        await waiting.until("waybill_task_attempts_total", 1, kind=REPLAY_STEP, result="recorded")
    between = await seen(harness, replay)
    assert (between.status, between.examined) == ("running", 0)
    await harness.rows("DELETE FROM delivery_due RETURNING 1")
    assert (await completed(harness, replay)).status == "completed"
