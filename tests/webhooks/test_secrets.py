"""Secrets and public keys, test events, retry schedules, event types and statistics through the API."""

import asyncio
import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from sqlalchemy import text

from shared.events import jobs
from shared.ids import new_id
from tests.harness.http_harness import public_key
from tests.harness.receiver import Received, Receiver
from tests.harness.servers import serving
from tests.harness.services import open_database
from tests.harness.waiting import eventually
from tests.harness.webhooks import Tenant, Webhooks
from webhooks import signatures
from webhooks.deliveries.endpoint_tests import PER_TENANT_MAX

PATH = "/v1/webhook-endpoints"


def signed_by(request: Received, *secrets: str) -> list[bool]:
    """For each of these secrets whether the request was signed with it."""
    keys = [b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    present = request.headers["webhook-signature"].split()
    message_id, timestamp = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
    return [signatures.Signer([key]).sign(message_id, timestamp, request.body) in present for key in keys]


async def signed_so(tenant: Tenant, receiver: Receiver, wanted: dict[str, bool]) -> None:
    """Wait for an event that is signed with exactly these secrets: attempts may use the former ones for a moment."""

    async def found() -> bool:
        await tenant.publish_job()
        return signed_by(await receiver.next_request(), *wanted) == list(wanted.values())

    await eventually(found, what="events are signed with these secrets")


async def test_an_overlap_ends_when_it_is_asked_to(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    path = f"{PATH}/{made['id']}"
    new = (await tenant.owner.post(f"{path}/rotate-secret", {"overlap_seconds": 60})).json()["secret"]
    assert (await tenant.owner.read(path))["previous_secret_until"] is not None

    stale = await tenant.owner.post(f"{path}/end-secret-overlap", headers={"If-Match": '"1"'})
    ended = await tenant.owner.post(f"{path}/end-secret-overlap", headers={"If-Match": '"2"'})
    again = await tenant.owner.post(f"{path}/end-secret-overlap")

    assert stale.status_code == 412
    assert (ended.status_code, ended.json()["previous_secret_until"], ended.json()["version"]) == (200, None, 3)
    assert again.json() == ended.json()
    await signed_so(tenant, receiver, {made["secret"]: False, new: True})
    actions = ("created", "secret_rotated", "secret_overlap_ended")
    await tenant.service.audited(made["id"], *(f"endpoint.{action}" for action in actions))


async def test_a_rotated_secret_signs_beside_the_new_one_until_its_overlap_ends(
    tenant: Tenant, receiver: Receiver
) -> None:
    made = await tenant.create_endpoint(receiver.url())
    path = f"{PATH}/{made['id']}"

    rotated = await tenant.owner.post(f"{path}/rotate-secret", {"overlap_seconds": 60})
    assert rotated.status_code == 200, rotated.text
    assert rotated.headers["cache-control"] == "no-store"
    new = rotated.json()["secret"]
    assert new != made["secret"]
    until = datetime.fromisoformat(rotated.json()["previous_secret_until"])
    assert timedelta(seconds=50) < until - datetime.now(UTC) < timedelta(seconds=61)
    assert (await tenant.owner.read(f"{path}/secret")) == rotated.json()
    assert (await tenant.owner.read(path))["version"] == 2

    await signed_so(tenant, receiver, {made["secret"]: True, new: True})

    leaked = await tenant.owner.post(f"{path}/rotate-secret", {"overlap_seconds": 0})
    assert leaked.json()["previous_secret_until"] is None
    await signed_so(tenant, receiver, {made["secret"]: False, new: False, leaked.json()["secret"]: True})


async def test_an_overlap_ends_by_itself(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    rotated = await tenant.owner.post(f"{PATH}/{made['id']}/rotate-secret", {"overlap_seconds": 1})

    await signed_so(tenant, receiver, {made["secret"]: False, rotated.json()["secret"]: True})


async def test_a_rotation_is_refused_for_an_older_version_and_audited(tenant: Tenant) -> None:
    made = await tenant.create_endpoint()
    path = f"{PATH}/{made['id']}/rotate-secret"

    late = await tenant.owner.post(path, {}, headers={"If-Match": '"7"'})
    long = await tenant.owner.post(path, {"overlap_seconds": 604801})
    done = await tenant.owner.post(path, {})

    assert (late.status_code, long.status_code, done.status_code) == (412, 422, 200)
    await tenant.service.audited(made["id"], "endpoint.created", "endpoint.secret_rotated")


async def test_v1a_is_verified_with_the_public_key_alone(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url(), sign_v1a=True)
    path = f"{PATH}/{made['id']}"

    shown = await tenant.owner.read(f"{path}/public-key")
    await tenant.publish_job()
    request = await receiver.next_request()

    assert (made["sign_v1a"], shown["algorithm"]) == (True, "ed25519")
    (v1a,) = [one for one in request.headers["webhook-signature"].split() if one.startswith("v1a,")]
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    raw = b64decode(v1a.removeprefix("v1a,"))
    public_key(shown["public_key"]).verify(raw, content)

    off = (await tenant.owner.patch(path, {"sign_v1a": False})).json()
    gone = await tenant.owner.get(f"{path}/public-key")
    await tenant.owner.patch(path, {"sign_v1a": True})
    another = await tenant.owner.read(f"{path}/public-key")
    assert (off["sign_v1a"], gone.status_code) == (False, 404)
    assert another["public_key"] != shown["public_key"]


async def test_a_test_event_is_sent_at_once_and_its_attempt_shown(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url("/test"), enabled=False, event_types=["job.created"])

    answer = await tenant.owner.post(f"{PATH}/{made['id']}/test")

    assert answer.status_code == 200, answer.text
    tested = answer.json()
    request = await receiver.next_request()
    assert request.webhook_id == tested["event_id"]
    assert signed_by(request, made["secret"]) == [True]
    body = request.json()
    assert (body["type"], body["data"]["endpoint_id"]) == ("webhook.test", made["id"])
    attempt = tested["attempt"]
    assert (attempt["result"], attempt["response_status"], attempt["cause"]) == ("delivered", 200, None)
    assert attempt["latency_ms"] >= attempt["first_byte_ms"] >= 0
    assert await tenant.deliveries() == []


async def test_a_test_event_shows_why_it_failed(tenant: Tenant) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403, text="who are you?")

    async with serving(refuse) as url:
        made = await tenant.create_endpoint(url)
        refused = (await tenant.owner.post(f"{PATH}/{made['id']}/test")).json()["attempt"]
    dead = (await tenant.owner.post(f"{PATH}/{made['id']}/test")).json()["attempt"]

    assert (refused["result"], refused["cause"], refused["response_status"]) == ("failed", "status", 403)
    assert refused["response_body"] == "who are you?"
    assert (dead["result"], dead["cause"], dead["response_status"]) == ("failed", "connect", None)
    assert (await tenant.owner.read(f"{PATH}/{made['id']}"))["failing_since"] is None


async def test_a_test_is_made_once_for_its_idempotency_key(tenant: Tenant) -> None:
    begun, answering = asyncio.Event(), asyncio.Event()
    requests = 0

    async def wait(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        begun.set()
        await answering.wait()
        return web.Response()

    async with serving(wait) as url:
        made = await tenant.create_endpoint(url)
        path, key = f"{PATH}/{made['id']}/test", {"Idempotency-Key": "one"}
        first = asyncio.create_task(tenant.owner.post(path, headers=key))
        await begun.wait()
        meanwhile = await tenant.owner.post(path, headers=key)
        answering.set()
        again = [await first, await tenant.owner.post(path, headers=key)]
        another = await tenant.owner.post(path, headers={"Idempotency-Key": "two"})

    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_flight")
    assert again[0].status_code == 200, again[0].text
    assert again[0].json() == again[1].json()
    assert again[1].headers["idempotency-replayed"] == "true"
    assert another.json()["event_id"] != again[0].json()["event_id"]
    assert requests == 2


async def test_a_test_that_was_interrupted_is_made_by_a_repeated_request(tenant: Tenant) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang_once(_: web.Request) -> web.Response:
        if not begun.is_set():
            begun.set()
            await never.wait()
        return web.Response()

    async with serving(hang_once) as url:
        made = await tenant.create_endpoint(url)
        path, key = f"{PATH}/{made['id']}/test", {"Idempotency-Key": "one"}
        lost = asyncio.create_task(tenant.owner.post(path, headers=key))
        await begun.wait()
        # As if it had begun long ago in a process that was killed.
        database = open_database(tenant.service.settings.database_url)
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE idempotency_keys SET created_at = now() - interval '3 minutes' WHERE status = 0")
            )
        await database.close()
        answer = await tenant.owner.post(path, headers=key)
        again = await tenant.owner.post(path, headers=key)
        lost.cancel()

    assert (answer.status_code, answer.json()["attempt"]["result"]) == (200, "delivered")
    assert (again.json(), again.headers["idempotency-replayed"]) == (answer.json(), "true")


async def test_a_test_that_was_refused_can_be_made_with_the_same_key(tenant: Tenant, receiver: Receiver) -> None:
    made, key = await tenant.create_endpoint(receiver.url()), {"Idempotency-Key": "one"}
    path = f"{PATH}/{new_id('ep')}/test"

    refused = [await tenant.owner.post(path, headers=key) for _ in range(2)]
    other = await tenant.owner.post(f"{PATH}/{made['id']}/test", headers=key)

    assert [one.status_code for one in (*refused, other)] == [404, 404, 200]


async def test_an_endpoint_decides_how_requests_are_sent(tenant: Tenant) -> None:
    made = await tenant.create_endpoint(retry_schedule_seconds=[5, 60.5], rate_limit_per_second=20, ordered_by_job=True)
    path = f"{PATH}/{made['id']}"
    ways = ("retry_schedule_seconds", "rate_limit_per_second", "ordered_by_job", "sign_v1a")

    changed = await tenant.owner.patch(path, {"retry_schedule_seconds": None, "ordered_by_job": False})
    same = await tenant.owner.patch(path, {"rate_limit_per_second": 20})

    assert [made[one] for one in ways] == [[5, 60.5], 20, True, False]
    assert [changed.json()[one] for one in ways] == [None, 20, False, False]
    assert (changed.json()["version"], same.json()["version"]) == (2, 2)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"retry_schedule_seconds": [0.5]}, "/retry_schedule_seconds/0", "greater_than_equal"),
        ({"retry_schedule_seconds": [1] * 51}, "/retry_schedule_seconds", "too_long"),
        ({"retry_schedule_seconds": [500_000, 500_000]}, "/retry_schedule_seconds", "schedule_too_long"),
        ({"rate_limit_per_second": 0}, "/rate_limit_per_second", "greater_than_equal"),
        ({"ordered_by_job": "perhaps"}, "/ordered_by_job", "bool_type"),
    ],
)
async def test_invalid_sending_options_are_named(
    tenant: Tenant, change: dict[str, Any], pointer: str, code: str
) -> None:
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}

    refused = await tenant.owner.post(PATH, {**body, **change})

    assert refused.status_code == 422, refused.text
    assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [(pointer, code)]


async def test_an_endpoints_own_schedule_is_followed(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500
    made = await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[])

    await tenant.publish_job()
    await receiver.next_request()

    async def given_up() -> bool:
        found = await tenant.deliveries(f"?endpoint_id={made['id']}&status=failed")
        return [one["attempts_made"] for one in found] == [1]

    await eventually(given_up, what="given up after one attempt")


async def test_event_types_describe_what_is_delivered(tenant: Tenant, receiver: Receiver) -> None:
    answer = await tenant.owner.get("/v1/event-types")
    assert answer.status_code == 200, answer.text
    types = {one["name"]: one for one in answer.json()["data"]}
    for one in types.values():
        Draft202012Validator.check_schema(one["json_schema"])
        validator = Draft202012Validator(one["json_schema"], format_checker=Draft202012Validator.FORMAT_CHECKER)
        assert list(validator.iter_errors(one["example"])) == [], one["name"]
        assert one["description"]
    delivered = {name for name, one in types.items() if one["is_delivered"]}
    assert delivered == {event.type_name() for event in jobs.EVENTS} | {"webhook.test"}
    assert not types["endpoint.disabled"]["is_delivered"]

    await tenant.create_endpoint(receiver.url())
    await tenant.publish_job()
    body = json.loads((await receiver.next_request()).body)
    assert list(Draft202012Validator(types["job.created"]["json_schema"]).iter_errors(body)) == []


async def test_statistics_count_the_deliveries_of_each_bucket(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda request: 200 if receiver.count % 3 else 500
    made = await tenant.create_endpoint(receiver.url(), retry_schedule_seconds=[])
    for _ in range(6):
        await tenant.publish_job()

    async def ended() -> dict[str, Any] | None:
        answer = await tenant.owner.get(f"{PATH}/{made['id']}/stats?bucket_seconds=60")
        assert answer.status_code == 200, answer.text
        stats: dict[str, Any] = answer.json()
        return stats if sum(one["delivered"] + one["failed"] for one in stats["buckets"]) == 6 else None

    stats = await eventually(ended, what="all are counted")
    assert len(stats["buckets"]) == 24
    assert sum(one["failed"] for one in stats["buckets"]) == 2
    assert sum(one["attempts"] for one in stats["buckets"]) == 6
    assert sum(one["causes"].get("status", 0) for one in stats["buckets"]) == 2
    assert all(one["latency_ms_p95"] >= one["latency_ms_p50"] for one in stats["buckets"] if one["deliveries"])
    assert (stats["waiting"], stats["buckets"][0]["is_partial"]) == (0, False)
    wide = await tenant.owner.get(f"{PATH}/{made['id']}/stats?bucket_seconds=10&since=2030-01-01T00:00:00Z")
    assert (wide.status_code, wide.json()["errors"][0]["parameter"]) == (422, "since")


async def test_these_routes_are_not_for_merchants_or_other_tenants(service: Webhooks, tenant: Tenant) -> None:
    made = await tenant.create_endpoint()
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    stranger = await service.create_tenant()
    reader = await tenant.create_staff("settings.webhooks.read")
    one = f"{PATH}/{made['id']}"
    routes: list[tuple[str, str, dict[str, Any], bool]] = [
        ("POST", f"{one}/rotate-secret", {"json": {}}, False),
        ("POST", f"{one}/test", {}, False),
        ("GET", f"{one}/public-key", {}, True),
        ("GET", f"{one}/stats", {}, True),
        ("POST", f"{one}/enable?replay_missed=true", {}, False),
    ]

    for method, path, more, may_read in routes:
        for caller in (merchant.api, session):
            refused = await caller.request(method, path, **more)
            assert (refused.status_code, refused.json()["code"]) == (403, "credential_not_admitted"), path
        assert (await stranger.owner.request(method, path, **more)).status_code == 404, path
        read = await reader.request(method, path, **more)
        assert (read.status_code == 403) == (not may_read), path
    for path in ("/v1/events", "/v1/event-types"):
        assert (await merchant.api.get(path)).status_code == 403
        assert (await reader.get(path)).status_code == 200


async def test_a_tenant_whose_receiver_hangs_keeps_no_other_from_its_tests(
    service: Webhooks, tenant: Tenant, receiver: Receiver
) -> None:
    other = await service.create_tenant()
    released, arrived = asyncio.Event(), 0

    async def hang(_: web.Request) -> web.Response:
        nonlocal arrived
        arrived += 1
        await released.wait()
        return web.Response()

    async def full() -> bool:
        return arrived == PER_TENANT_MAX

    async with serving(hang) as url:
        made = await tenant.create_endpoint(url)
        sent = [asyncio.create_task(tenant.owner.post(f"{PATH}/{made['id']}/test")) for _ in range(3 * PER_TENANT_MAX)]
        await eventually(full, what="as many tests are under way as one tenant may have")
        alone = await other.owner.post(f"{PATH}/{(await other.create_endpoint(receiver.url('/other')))['id']}/test")
        released.set()
        answers = await asyncio.gather(*sent)

    assert alone.json()["attempt"]["result"] == "delivered"
    assert sorted(answer.status_code for answer in answers) == [200] * PER_TENANT_MAX + [429] * 2 * PER_TENANT_MAX
