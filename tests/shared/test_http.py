"""The HTTP edge, through an application with a few routes on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI

from shared.api import Router, public, requires
from shared.api.app import _require_declared
from shared.api.declarations import RouteUndeclared
from shared.events import billing, identity
from shared.ids import new_id, to_uuid
from tests.harness.access import (
    DISABLE_SUBJECT,
    END_API_ACCESS,
    END_SUBSCRIPTION,
    REPLACE_KEY,
    REVOKE_SESSIONS,
    SUSPEND_TENANT,
    TAKE_PERMISSIONS,
    change_meanwhile,
)
from tests.harness.client import Api
from tests.harness.edge_app import EdgeTestApp, edge_database, run_edge_app
from tests.harness.stack import BackingStack

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == PROBLEM, answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["instance"] == answer.headers["x-request-id"]
    return answer.status_code, document["code"]


# -- the decision order: each adjacent pair -----------------------------------------------------------------------------


async def test_401_comes_before_everything(edge: EdgeTestApp) -> None:
    suspended = await edge.create_tenant(status="suspended", ends_in=timedelta(days=-1))
    merchant = await suspended.create_merchant()
    wrong = {"Authorization": merchant.api.headers["Authorization"][:-4] + "AAAA"}

    assert code(await edge.client.post("/v1/notes", headers=wrong, content=b"{"))[0] == 401
    assert code(await edge.client.post("/v1/notes", content=b"{"))[0] == 401


async def test_403_for_a_suspended_tenant_comes_before_402(edge: EdgeTestApp) -> None:
    suspended = await edge.create_tenant(status="suspended", ends_in=timedelta(days=-1))

    answer = await suspended.owner.get("/v1/notes")

    assert code(answer) == (403, "tenant_suspended")


async def test_403_for_api_access_off_comes_before_402(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant(ends_in=timedelta(days=-1))
    merchant = await tenant.create_merchant()
    await merchant.update(api_access=False)

    assert code(await merchant.api.post("/v1/notes")) == (403, "api_access_off")


async def test_402_comes_before_the_permission(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant(ends_in=timedelta(days=-1))
    staff = await tenant.create_staff("reports")

    assert code(await staff.get("/v1/notes")) == (402, "subscription_required")
    assert code(await staff.delete("/v1/notes/1")) == (403, "permission_missing")
    assert (await staff.get("/v1/anyone")).status_code == 200


async def test_the_permission_comes_before_the_body(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    staff = await tenant.create_staff("reports")

    answer = await staff.post("/v1/notes", content=b"x" * 300_000)

    assert code(answer) == (403, "permission_missing")
    assert answer.json()["required"] == ["orders.jobs.write"]


async def test_an_unreadable_body_comes_before_an_invalid_one(edge: EdgeTestApp) -> None:
    owner = (await edge.create_tenant()).owner

    too_large = await owner.post("/v1/notes", content=b" " * 300_000, headers=JSON)
    wrong_type = await owner.post("/v1/notes", content=b"{", headers={"Content-Type": "text/plain"})
    malformed = await owner.patch("/v1/notes/no-number", content=b"{", headers=JSON)

    assert code(too_large) == (413, "payload_too_large")
    assert code(wrong_type) == (415, "unsupported_media_type")
    assert code(malformed) == (400, "json_malformed")


@pytest.mark.parametrize(
    ("method", "path", "parameters"),
    [
        ("GET", "/v1/notes?text=a&colour=red&limit=5", ["colour"]),
        ("GET", "/v1/notes?b=1&a=2&a=3", ["a", "b"]),
        ("GET", "/v1/notes?Limit=5&text[]=a", ["Limit", "text[]"]),
        ("GET", "/v1/notes/no-number?fields=id", ["fields"]),
        ("GET", "/v1/hello?name", ["name"]),
        ("GET", "/v1/anyone?%F0=", ["\ufffd"]),
        ("POST", "/v1/notes?dry_run=true", ["dry_run"]),
        ("DELETE", "/v1/notes/7?force=true", ["force"]),
    ],
)
async def test_a_query_parameter_that_the_route_does_not_have_is_refused(
    edge: EdgeTestApp, method: str, path: str, parameters: list[str]
) -> None:
    owner = (await edge.create_tenant()).owner

    answer = await owner.request(method, path, **({"json": {"text": "a"}} if method == "POST" else {}))

    assert code(answer) == (422, "invalid")
    assert [(error["parameter"], error["code"]) for error in answer.json()["errors"]] == [
        (name, "extra_forbidden") for name in parameters
    ]
    assert (await owner.read("/v1/notes"))["data"] == []


async def test_a_misspelt_query_parameter_is_refused_with_the_nearest_one(edge: EdgeTestApp) -> None:
    owner = (await edge.create_tenant()).owner

    misspelt = await owner.get("/v1/notes?curser=x")
    staff = await (await edge.create_tenant()).create_staff("reports")

    assert misspelt.json()["errors"][0]["message"] == "no such parameter here; did you mean cursor?"
    assert code(await staff.delete("/v1/notes/1?force=true")) == (403, "permission_missing")


async def test_an_invalid_body_comes_before_a_missing_row(edge: EdgeTestApp) -> None:
    owner = (await edge.create_tenant()).owner

    assert code(await owner.patch("/v1/notes/999999", {"text": ""}))[0] == 422
    assert code(await owner.patch("/v1/notes/999999", {"text": "a"}))[0] == 404


async def test_404_comes_before_412_and_412_before_409(edge: EdgeTestApp) -> None:
    tenant, stranger = await edge.create_tenant(), await edge.create_tenant()
    made = (await tenant.owner.post("/v1/notes", {"text": "a"})).json()
    path, stale = f"/v1/notes/{made['id']}", {"If-Match": '"7"'}

    hidden = await stranger.owner.patch(path, {"text": "a"}, headers=stale)
    changed = await tenant.owner.patch(path, {"text": "a"}, headers=stale)
    conflicting = await tenant.owner.patch(path, {"text": "a"}, headers={"If-Match": '"1"'})

    assert code(hidden)[0] == 404
    assert code(changed)[0] == 412
    assert code(conflicting)[0] == 409


# -- credentials and access --------------------------------------------------------------------------------------------


async def test_access_ends_and_begins_with_what_is_published(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    assert (await merchant.api.get("/v1/anyone")).status_code == 200

    await merchant.update(api_access=False)

    assert code(await merchant.api.get("/v1/anyone")) == (403, "api_access_off")


async def test_an_older_event_changes_nothing(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    granted = edge.people.merchant_updated(merchant)
    await merchant.update(api_access=False)

    await edge.publish(granted)

    assert code(await merchant.api.get("/v1/anyone")) == (403, "api_access_off")


async def test_a_former_key_ends_by_the_verifiers_own_clock(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    former_api, until = merchant.api, datetime.now(UTC) + timedelta(seconds=4)
    await edge.people.rotate_key(merchant, former_until=until)

    assert (await former_api.get("/v1/anyone")).status_code == 200
    assert (await merchant.api.get("/v1/anyone")).status_code == 200
    await asyncio.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))
    assert code(await former_api.get("/v1/anyone")) == (401, "credentials_wrong")
    assert (await merchant.api.get("/v1/anyone")).status_code == 200


async def test_a_token_from_before_a_revocation_is_refused_and_a_later_one_works(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    before = tenant.owner
    sessions = identity.SubjectSessions(subject_id=tenant.owner.subject_id, sessions_valid_from=datetime.now(UTC))
    await edge.publish(
        identity.SessionRevoked(tenant_id=tenant.id, subject=sessions.subject_id, sequence=99, data=sessions)
    )
    after = edge.people.session(tenant.id, tenant.owner.subject_id)

    assert code(await before.get("/v1/anyone")) == (401, "session_revoked")
    assert (await after.get("/v1/anyone")).status_code == 200


async def test_an_expired_token_is_refused(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    issued_at = datetime.now(UTC) - timedelta(minutes=6)
    old = edge.people.session(tenant.id, tenant.owner.subject_id, issued_at=issued_at)

    assert code(await old.get("/v1/anyone")) == (401, "token_expired")


async def test_what_is_not_known_yet_is_503_and_never_open(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant(ends_in=None)
    stranger = edge.people.session(tenant.id, new_id("usr"))

    answer = await tenant.owner.get("/v1/notes")

    assert code(answer) == (503, "access_not_ready")
    assert answer.headers["retry-after"] == "1"
    assert code(await stranger.get("/v1/anyone")) == (503, "access_not_ready")


@pytest.mark.parametrize(
    ("via", "change", "expected"),
    [
        ("API credentials", END_API_ACCESS, (403, "api_access_off")),
        ("API credentials", REPLACE_KEY, (401, "credentials_wrong")),
        ("API credentials", END_SUBSCRIPTION, (402, "subscription_required")),
        ("session", REVOKE_SESSIONS, (401, "session_revoked")),
        ("session", DISABLE_SUBJECT, (401, "subject_disabled")),
        ("session", TAKE_PERMISSIONS, (403, "permission_missing")),
        ("session", SUSPEND_TENANT, (403, "tenant_suspended")),
    ],
)
async def test_access_that_ends_between_the_decision_and_the_write_stops_the_write(
    edge: EdgeTestApp, database_url: str, via: str, change: str, expected: tuple[int, str]
) -> None:
    tenant = await edge.create_tenant()
    merchant, clerk = await tenant.create_merchant(), await tenant.create_staff("orders.jobs.write")
    caller, subject_id = (clerk, clerk.subject_id) if via == "session" else (merchant.api, merchant.id)
    names: dict[str, UUID | str] = {
        "subject_id": to_uuid(subject_id),
        "tenant_id": to_uuid(tenant.id),
        "credential_id": merchant.account_id,
    }

    async def send() -> httpx.Response:
        return await caller.post("/v1/notes", {"text": "late"}, headers={"Idempotency-Key": "k"})

    answer = await change_meanwhile(database_url, change, names[change.split()[-3]], send)

    assert code(answer) == expected
    assert await edge.count(f"SELECT count(*) FROM notes WHERE tenant_id = '{tenant.id}'") == 0


async def test_access_that_cannot_be_shown_to_be_current_fails_closed(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    try:
        await edge.caught_up((identity.TOPIC,), datetime.now(UTC) - timedelta(seconds=301))

        assert code(await tenant.owner.get("/v1/anyone")) == (503, "access_stale")
        assert (await edge.client.get("/readyz")).status_code == 503
        assert (await edge.client.get("/v1/hello")).status_code == 200
    finally:
        await edge.caught_up((identity.TOPIC, billing.TOPIC), datetime.now(UTC) + timedelta(hours=1))


# -- routes must declare themselves -------------------------------------------------------------------------------------


def test_a_route_that_declares_nothing_cannot_be_made() -> None:
    router = Router(tags=["x"])

    async def undeclared() -> None: ...

    async def twice() -> None: ...

    async def misspelt() -> None: ...

    with pytest.raises(RouteUndeclared, match="declares neither"):
        router.get("/v1/undeclared")(undeclared)
    with pytest.raises(RouteUndeclared, match="twice"):
        public()(public()(twice))
    with pytest.raises(RouteUndeclared, match="catalogue"):
        router.get("/v1/misspelt")(requires("orders.jbos.read")(misspelt))


def test_an_app_with_an_unguarded_route_refuses_to_start() -> None:
    async def open_to_all() -> None: ...

    unguarded = APIRouter()
    unguarded.get("/v1/open")(open_to_all)
    app = FastAPI()
    app.router.routes.extend(unguarded.routes)

    with pytest.raises(RouteUndeclared, match="not a guarded route"):
        _require_declared(app)


async def test_openapi_publishes_what_routes_declare(edge: EdgeTestApp) -> None:
    document = (await edge.client.get("/openapi.json")).json()

    created = document["paths"]["/v1/notes"]["post"]
    assert document["openapi"].startswith("3.1")
    assert created["x-required-permission"] == "orders.jobs.write"
    assert created["x-subscription-exempt"] is False
    assert created["security"] == [{"apiKey": []}, {"merchantPair": []}, {"session": []}]
    assert document["paths"]["/v1/notes/{note_id}"]["delete"]["x-subscription-exempt"] is True
    assert document["paths"]["/v1/hello"]["get"]["security"] == []
    assert "402" in created["responses"]
    assert "Problem" in document["components"]["schemas"]


# -- bad input ----------------------------------------------------------------------------------------------------------

UNREADABLE = {
    "cut off": b'{"text": "a"',
    "not JSON": b"text=a",
    "not UTF-8": b'{"text": "\xff"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "NaN": b'{"text": "a", "amount": NaN}',
    "Infinity": b'{"text": "a", "amount": Infinity}',
    "two members of one name": b'{"text": "a", "text": "b"}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep enough": b'{"text": ' + b"[" * 100 + b"]" * 100 + b"}",
    "raw control character": b'{"text": "a\x01"}',
    "empty": b"",
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_body_is_400_and_changes_nothing(edge: EdgeTestApp, name: str) -> None:
    tenant = await edge.create_tenant()
    before = await edge.count("SELECT count(*) FROM notes")

    answer = await tenant.owner.post("/v1/notes", content=UNREADABLE[name], headers=JSON)

    assert code(answer)[0] == 400
    assert await edge.count("SELECT count(*) FROM notes") == before


INVALID: dict[str, tuple[bytes, set[str]]] = {
    "missing": (b"{}", {"/text"}),
    "wrong type": (b'{"text": 7}', {"/text"}),
    "too long": (b'{"text": "' + b"a" * 21 + b'"}', {"/text"}),
    "unknown field": (b'{"text": "a", "colour": "red"}', {"/colour"}),
    "NUL": (b'{"text": "a\\u0000"}', {"/text"}),
    "lone surrogate": (b'{"text": "a\\ud800"}', {"/text"}),
    "1e400": (b'{"text": "a", "amount": 1e400}', {"/amount"}),
    "id of another kind": (b'{"text": "a", "merchant_id": "job_01h455vb4pex5vsknk084sn02q"}', {"/merchant_id"}),
    "all at once": (b'{"text": "", "tags": ["ok", "too long"], "x/y": 1}', {"/text", "/tags/1", "/x~1y"}),
    "not an object": (b"[]", {""}),
}


@pytest.mark.parametrize("name", INVALID)
async def test_an_invalid_body_is_422_with_every_place(edge: EdgeTestApp, name: str) -> None:
    tenant = await edge.create_tenant()
    content, pointers = INVALID[name]

    answer = await tenant.owner.post("/v1/notes", content=content, headers=JSON)

    assert code(answer)[0] == 422
    assert {violation["pointer"] for violation in answer.json()["errors"]} == pointers


async def test_a_chunked_body_is_bounded_too(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 10_000

    answer = await tenant.owner.post("/v1/notes", content=endless(), headers=JSON)

    assert code(answer) == (413, "payload_too_large")


async def test_unknown_paths_and_methods_are_problems_too(edge: EdgeTestApp) -> None:
    assert code(await edge.client.get("/v1/nothing")) == (404, "route_not_found")
    for method, path in (("GET", "/v1/notes/"), ("POST", "/v1/notes/"), ("GET", "/v1/hello/"), ("GET", "/livez/")):
        with_slash = await edge.client.request(method, path)
        assert code(with_slash) == (404, "route_not_found")
        assert "no slash at their end" in with_slash.json()["detail"]
    assert code(await edge.client.put("/v1/hello")) == (405, "method_not_allowed")


async def test_a_refused_method_gets_all_that_the_path_has(edge: EdgeTestApp) -> None:
    answer = await edge.client.request("OPTIONS", "/v1/notes")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_head_is_answered_like_get_without_a_body(edge: EdgeTestApp) -> None:
    for path in ("/livez", "/readyz", "/openapi.json", "/problems/invalid", "/v1/hello", "/v1/anyone", "/v1/nothing"):
        got, head = await edge.client.get(path), await edge.client.head(path)

        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert without_request_id(head) == without_request_id(got)
    known = await edge.client.head("/v1/hello", headers={"If-None-Match": '"1"'})
    assert known.status_code == 304


def without_request_id(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


async def test_a_mistake_of_ours_is_500_without_a_word_of_it(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()

    answer = await tenant.owner.post("/v1/notes", {"text": "crash"})

    assert code(answer) == (500, "internal_error")
    assert "RuntimeError" not in answer.text
    assert "wbk_" not in answer.text


# -- transactions and idempotency ---------------------------------------------------------------------------------------


async def test_a_commit_that_fails_is_no_success(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    before = await edge.count("SELECT count(*) FROM notes")

    answer = await tenant.owner.post("/v1/notes", {"text": "fails at commit"})

    assert code(answer)[0] == 500
    assert await edge.count("SELECT count(*) FROM notes") == before


async def test_a_repeat_gets_the_stored_answer(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    headers = {"Idempotency-Key": "k-1"}

    first = await tenant.owner.post("/v1/notes", {"text": "a"}, headers=headers)
    again = await tenant.owner.post("/v1/notes", {"text": "a"}, headers=headers)
    other = await tenant.owner.post("/v1/notes", {"text": "b"}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert code(other) == (422, "idempotency_key_reused")


async def test_fifty_at_once_with_one_key_do_the_work_once(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    headers = {"Idempotency-Key": "k-50"}

    answers = await asyncio.gather(
        *(tenant.owner.post("/v1/notes", {"text": "fifty"}, headers=headers) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert await edge.count(f"SELECT count(*) FROM notes WHERE tenant_id = '{tenant.id}'") == 1


async def test_a_refusal_is_kept_with_its_work_undone(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    headers = {"Idempotency-Key": "k-conflict"}

    first = await tenant.owner.post("/v1/notes", {"text": "conflict"}, headers=headers)
    again = await tenant.owner.post("/v1/notes", {"text": "conflict"}, headers=headers)

    assert code(first) == (409, "conflict")
    assert first.json()["current_status"] == "open"
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == PROBLEM
    assert await edge.count(f"SELECT count(*) FROM notes WHERE tenant_id = '{tenant.id}'") == 0
    assert await edge.count(f"SELECT count(*) FROM outbox WHERE key = '{tenant.id}'") == 0


async def test_an_invalid_request_does_not_use_up_its_key(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    headers = {"Idempotency-Key": "k-retry"}

    assert (await tenant.owner.post("/v1/notes", {"text": ""}, headers=headers)).status_code == 422
    assert (await tenant.owner.post("/v1/notes", {"text": "a"}, headers=headers)).status_code == 201


async def test_keys_of_two_callers_do_not_meet(edge: EdgeTestApp) -> None:
    first, second = await edge.create_tenant(), await edge.create_tenant()
    key = {"Idempotency-Key": "same"}

    one = await first.owner.post("/v1/notes", {"text": "a"}, headers=key)
    other = await second.owner.post("/v1/notes", {"text": "b"}, headers=key)

    assert (one.status_code, other.status_code) == (201, 201)


# -- lists, versions, limits, operations --------------------------------------------------------------------------------


async def test_pages_are_stable_while_rows_are_added(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    for number in range(7):
        await tenant.owner.post("/v1/notes", {"text": f"n{number}"})

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        listed = await tenant.owner.read("/v1/notes", params=query)
        seen += [note["text"] for note in listed["data"]]
        await tenant.owner.post("/v1/notes", {"text": "later"})
        if not listed["has_more"]:
            break
        query["cursor"] = listed["next_cursor"]

    assert seen == [f"n{number}" for number in reversed(range(7))]


async def test_cursors_of_others_other_filters_or_forgers_are_400(edge: EdgeTestApp) -> None:
    tenant, stranger = await edge.create_tenant(), await edge.create_tenant()
    for _ in range(3):
        await tenant.owner.post("/v1/notes", {"text": "a"})
    first = await tenant.owner.get("/v1/notes", params={"limit": 1})
    cursor = first.json()["next_cursor"]

    async def ask(caller: Api, **params: str) -> tuple[int, str]:
        return code(await caller.get("/v1/notes", params=params))

    assert await ask(tenant.owner, cursor=cursor, text="a") == (400, "cursor_filters_differ")
    assert await ask(stranger.owner, cursor=cursor) == (400, "cursor_filters_differ")
    for forged in (("B" if cursor[0] == "A" else "A") + cursor[1:], "A" * 30, "%00", "é", "a b"):
        assert await ask(tenant.owner, cursor=forged) == (400, "cursor_invalid")
    assert (await ask(tenant.owner, limit="201"))[0] == 422


async def test_a_request_id_is_kept_or_made(edge: EdgeTestApp) -> None:
    kept = await edge.client.get("/v1/hello", headers={"X-Request-Id": "abc-1"})
    made = await edge.client.get("/v1/hello", headers={"X-Request-Id": "not valid"})

    assert kept.headers["x-request-id"] == "abc-1"
    assert made.headers["x-request-id"].startswith("req_")


async def test_health_and_metrics_need_no_credentials(edge: EdgeTestApp) -> None:
    await edge.client.get("/v1/hello")

    assert (await edge.client.get("/livez")).status_code == 200
    assert (await edge.client.get("/readyz")).status_code == 200
    exposition = (await edge.client.get("/metrics")).text
    assert 'waybill_http_requests_total{method="GET",route="/v1/hello",status="200"}' in exposition
    assert "waybill_access_staleness_seconds" in exposition


async def test_what_is_not_ready_is_said_in_a_word(backing: BackingStack) -> None:
    url = await edge_database(backing)
    name = url.rpartition("/")[2]
    async with run_edge_app(url) as edge:
        connection = await asyncpg.connect(backing.postgres_admin_url)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()

        answer = await edge.client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "reason": "database"}


async def test_a_draining_process_is_not_ready_and_still_serves(edge: EdgeTestApp) -> None:
    edge.app.state.draining = True
    try:
        assert (await edge.client.get("/readyz")).status_code == 503
        assert (await edge.client.get("/v1/hello")).status_code == 200
    finally:
        edge.app.state.draining = False


async def test_a_process_without_the_api_role_answers_health_and_nothing_else(database_url: str) -> None:
    async with run_edge_app(database_url, roles="worker", metrics_path="/internal/metrics") as edge:
        assert (await edge.client.get("/livez")).status_code == 200
        assert (await edge.client.get("/readyz")).status_code == 200
        assert (await edge.client.get("/internal/metrics")).status_code == 200
        for path in ("/v1/notes", "/v1/auth/test", "/metrics"):
            assert code(await edge.client.get(path)) == (404, "route_not_found")
