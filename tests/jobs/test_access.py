"""Access: the decision order, the end of access, and the routes that API credentials of a merchant open."""

import base64
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from shared.access.credentials import new_api_key
from shared.api.routes import GuardedRoute
from shared.ids import new_id, to_uuid
from tests.harness.access import (
    DISABLE_SUBJECT,
    END_API_ACCESS,
    END_SUBSCRIPTION,
    REPLACE_KEY,
    SUSPEND_TENANT,
    change_meanwhile,
    change_unannounced,
)
from tests.harness.bodies import smallest_job
from tests.harness.client import Api, basic
from tests.harness.job_files import NDJSON, lines
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import location_updated
from tests.harness.waiting import WAIT_SECONDS, eventually

README = Path("services/jobs/README.md")
MERCHANTS_MAY = re.compile(r"orders\.(jobs|actions)\.")
PREFIXES = {"job": "job", "action": "act", "import": "imp", "command": "blk"}
"""Of the ids in paths."""
UNREADABLE: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "application/json"}}


async def outcome(api: Api, method: str = "POST", path: str = "/v1/jobs", **options: Any) -> tuple[int, str]:
    """Status and problem code of the response."""
    if method == "POST" and not options:
        options = {"json": smallest_job()}
    answer = await api.request(method, path, **options)
    return answer.status_code, answer.json().get("code", "")


async def await_outcome(api: Api, expected: tuple[int, str], *, seconds: float = WAIT_SECONDS, **options: Any) -> None:
    """Wait until a call has this status and code."""

    async def seen() -> bool:
        return await outcome(api, **options) == expected

    await eventually(seen, seconds=seconds, what=str(expected))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "credentials_missing"),
        ({"Authorization": "Basic"}, "credentials_wrong"),
        ({"Authorization": "Basic %%%"}, "credentials_malformed"),
        ({"Authorization": "Basic " + base64.b64encode("é:é".encode()).decode()}, "credentials_malformed"),
        ({"Authorization": "Basic " + base64.b64encode(b"acct_1:key").decode()}, "credentials_wrong"),
        ({"Authorization": "Basic " + "QQ" * 2000}, "credentials_wrong"),
        (basic(new_id("acct"), new_api_key(livemode=True)), "credentials_wrong"),
        ({"Authorization": "Bearer x.y.z"}, "token_malformed"),
        ({"Authorization": "Digest x"}, "scheme_unknown"),
        ({"X-Api-Key": "wbk_live_nonsense"}, "credentials_wrong"),
        ({"X-Api-Key": new_api_key(livemode=True)}, "credentials_wrong"),
        ({"X-Api-Key": new_api_key(livemode=True), "Authorization": "Bearer x"}, "credentials_ambiguous"),
    ],
)
async def test_garbage_credentials_are_401(service: Jobs, headers: dict[str, str], code: str) -> None:
    assert await outcome(Api(service.client, headers)) == (401, code)


async def test_a_wrong_key_of_a_known_account_is_401(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()

    for wrong in (other.key, new_api_key(livemode=True), merchant.key[:-1] + ("0" if merchant.key[-1] != "0" else "1")):
        assert await outcome(Api(service.client, basic(merchant.account_id, wrong))) == (401, "credentials_wrong")
    # A merchant's API Auth Key is not an API key.
    assert await outcome(Api(service.client, {"X-Api-Key": merchant.key})) == (401, "credentials_wrong")


async def test_each_step_of_the_decision_comes_before_the_next(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    wrong = Api(service.client, basic(merchant.account_id, new_api_key(livemode=True)))
    reader = await tenant.create_user(permissions=["orders.jobs.read"])
    await merchant.api.create_job(smallest_job(reference_id="R-1"))
    taken_and_invalid: dict[str, Any] = {"json": smallest_job(reference_id="R-1", location_id=tenant.closed)}

    # 422 before 409, 400 before 422, 413 and 415 before 400.
    assert await outcome(merchant.api, **taken_and_invalid) == (422, "invalid")
    assert await outcome(merchant.api, **UNREADABLE) == (400, "json_malformed")
    assert await outcome(merchant.api, content=b"{", headers={"Content-Type": "text/plain"}) == (
        415,
        "unsupported_media_type",
    )
    # 403 for a missing permission before the body is read.
    assert await outcome(reader, **UNREADABLE) == (403, "permission_missing")
    # 402 before this 403.
    await tenant.end_trial_at(datetime.now(UTC) - timedelta(seconds=1))
    await await_outcome(reader, (402, "subscription_required"), **UNREADABLE)
    await await_outcome(merchant.api, (402, "subscription_required"), **UNREADABLE)
    # 403 for disabled API access or a suspended tenant before 402.
    await merchant.update(api_access=False)
    await await_outcome(merchant.api, (403, "api_access_off"), **UNREADABLE)
    await tenant.update(status="suspended")
    await await_outcome(reader, (403, "tenant_suspended"), **UNREADABLE)
    await await_outcome(merchant.api, (403, "tenant_suspended"), **UNREADABLE)
    # 401 before all others.
    assert await outcome(wrong, **UNREADABLE) == (401, "credentials_wrong")


async def test_invalid_comes_before_not_found(tenant: Tenant) -> None:
    owner = await tenant.create_user("owner")

    assert await outcome(owner, "GET", "/v1/jobs/7") == (422, "invalid")
    assert await outcome(owner, "GET", f"/v1/jobs/{new_id('job')}") == (404, "job_not_found")


async def test_an_expired_trial_closes_by_the_clock_without_an_event(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    # However long the event takes, the last of these trials has not ended when it arrives.
    for seconds in (1.5, 6, 24):
        ends_at = datetime.now(UTC) + timedelta(seconds=seconds)
        await tenant.end_trial_at(ends_at)
        before = await outcome(merchant.api)
        while before != (201, "") and datetime.now(UTC) < ends_at:
            before = await outcome(merchant.api)
        if before == (201, ""):
            break
    assert before == (201, "")

    await await_outcome(merchant.api, (402, "subscription_required"), seconds=60)

    assert datetime.now(UTC) >= ends_at
    assert await outcome(merchant.api, "GET") == (402, "subscription_required")
    assert (await merchant.api.read("/v1/permissions"))["subscription"]["entitled"] is False
    assert (await merchant.api.get("/v1/auth/test")).status_code == 200


@pytest.mark.parametrize(
    ("permissions", "read", "write"),
    [
        (["orders"], 200, 201),
        (["orders.jobs.read"], 200, 403),
        (["orders.jobs.write"], 403, 201),
        (["home", "appearance", "settings", "reports", "products", "customers"], 403, 403),
        ([], 403, 403),
    ],
)
async def test_staff_do_what_their_permissions_say(
    tenant: Tenant, permissions: list[str], read: int, write: int
) -> None:
    merchant = await tenant.create_merchant()
    staff = await tenant.create_user(permissions=permissions)

    listed = await staff.get("/v1/jobs")
    created = await staff.post("/v1/jobs", smallest_job(merchant_id=merchant.id))

    assert (listed.status_code, created.status_code) == (read, write)
    for answer, permission in ((listed, "orders.jobs.read"), (created, "orders.jobs.write")):
        if answer.status_code == 403:
            assert answer.json()["required"] == [permission]


async def test_a_merchants_session_reads_and_does_not_write(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(level=1, api_access=False)

    assert await outcome(await merchant.session(), "GET") == (200, "")
    assert await outcome(await merchant.session()) == (403, "credential_not_admitted")


async def test_credentials_of_level_one_or_without_access_open_nothing(tenant: Tenant) -> None:
    level_one = await tenant.create_merchant(level=1, api_access=False)
    disabled = await tenant.create_merchant(status="disabled")

    for merchant in (level_one, disabled):
        for method in ("GET", "POST"):
            assert await outcome(merchant.api, method) == (403, "api_access_off")


async def test_api_credentials_open_only_routes_marked_for_them(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    for route, method in routes(service):
        path = re.sub(r"\{(\w+)_id\}", lambda found: new_id(PREFIXES[found[1]]), route.path)
        answer = await merchant.api.request(method, path, json=smallest_job() if method == "POST" else None)
        assert ("pair" in route.access.admits) == (answer.status_code not in (401, 403)), path
        # The permissions of merchants; the routes that all services have need none. Bulk commands are for administrators alone.
        permission = route.access.permission
        expected = permission is None or MERCHANTS_MAY.match(permission) is not None
        expected = expected and not route.path.startswith("/v1/job-commands")
        assert ("pair" in route.access.admits) == expected, path


async def test_no_route_is_open_to_the_public(service: Jobs) -> None:
    stranger = Api(service.client, {})

    for route, method in routes(service):
        assert (await outcome(stranger, method, route.path, json={}))[0] == 401


async def test_revocation_is_in_force_at_once_and_restored_by_a_grant(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()

    await merchant.update(api_access=False)
    await await_outcome(merchant.api, (403, "api_access_off"))
    assert await outcome(merchant.api, "GET") == (403, "api_access_off")

    await merchant.update(api_access=True)
    await await_outcome(merchant.api, (201, ""))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (END_API_ACCESS, (403, "api_access_off")),
        (DISABLE_SUBJECT, (403, "api_access_off")),
        (REPLACE_KEY, (401, "credentials_wrong")),
        (SUSPEND_TENANT, (403, "tenant_suspended")),
        (END_SUBSCRIPTION, (402, "subscription_required")),
    ],
)
async def test_a_write_checks_access_again_in_its_transaction(
    service: Jobs, tenant: Tenant, change: str, expected: tuple[int, str]
) -> None:
    merchant = await tenant.create_merchant()
    assert await outcome(merchant.api, "GET") == (200, "")

    names: dict[str, UUID | str] = {
        "subject_id": to_uuid(merchant.id),
        "tenant_id": to_uuid(tenant.id),
        "credential_id": merchant.account_id,
    }

    async def send() -> httpx.Response:
        return await merchant.api.post("/v1/jobs", smallest_job(), headers={"Idempotency-Key": "late"})

    answer = await change_meanwhile(service.settings.database_url, change, names[change.split()[-3]], send)

    assert (answer.status_code, answer.json()["code"]) == expected
    assert await service.count(merchant) == 0


async def test_every_kind_of_write_checks_access_again(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = f"/v1/jobs/{(await merchant.api.create_job())['id']}"
    action = (await merchant.api.post(f"{job}/actions", {"description": "a box"})).json()
    writes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/jobs/bulk", {"json": {"items": [smallest_job()]}}),
        ("PATCH", job, {"json": {"priority": 3}}),
        ("POST", f"{job}/clone", {}),
        ("POST", f"{job}/cancel", {}),
        ("DELETE", f"{job}/actions/{action['id']}", {}),
        ("DELETE", job, {}),
        ("POST", "/v1/job-imports", {"content": lines([smallest_job()]), "headers": NDJSON}),
    ]
    before = await merchant.api.read(job)

    await change_unannounced(service.settings.database_url, END_API_ACCESS, to_uuid(merchant.id))
    for method, path, options in writes:
        assert await outcome(merchant.api, method, path, **options) == (403, "api_access_off"), path

    assert (await service.platform(tenant).read(job)) == before
    assert await service.count(merchant) == 1
    assert (await service.platform(tenant).read("/v1/job-imports"))["data"] == []


async def test_access_that_ends_while_a_file_arrives_imports_nothing(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    async def content() -> AsyncIterator[bytes]:
        yield lines([smallest_job()])
        await change_unannounced(service.settings.database_url, END_API_ACCESS, to_uuid(merchant.id))
        yield lines([smallest_job()])

    assert await outcome(merchant.api, "POST", "/v1/job-imports", content=content(), headers=NDJSON) == (
        403,
        "api_access_off",
    )
    async with service.database.reading() as session:
        left = text("SELECT count(*) FROM imports WHERE merchant_id = :merchant_id")
        assert await session.scalar(left, {"merchant_id": to_uuid(merchant.id)}) == 0
    assert await service.count(merchant) == 0


async def test_a_location_that_closes_takes_no_more_jobs(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()

    await service.publish_access(location_updated(tenant.id, tenant.default_location, active=False, sequence=2))

    assert await outcome(merchant.api) == (422, "invalid")
    assert (await merchant.api.create_job(smallest_job(location_id=tenant.toronto)))["location_id"] == tenant.toronto


async def test_the_platform_names_a_tenant(service: Jobs, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    body: dict[str, Any] = {"json": smallest_job(merchant_id=merchant.id)}

    assert await outcome(service.platform(tenant), **body) == (201, "")
    assert await outcome(service.platform(), **body) == (400, "tenant_required")
    unknown = Api(service.client, {**service.platform().headers, "X-Tenant-Id": new_id("ten")})
    assert await outcome(unknown, **body) == (404, "tenant_not_found")


async def test_the_readme_lists_every_route_and_who_may_call_it(service: Jobs) -> None:
    document = (await service.client.get("/openapi.json")).json()
    of_every_service = {"/v1/auth/test", "/v1/permissions"}

    described = {
        (f"{method.upper()} {path}", operation["x-required-permission"], *_admits(operation["x-admits"]))
        for path, operations in document["paths"].items()
        if path not in of_every_service
        for method, operation in operations.items()
    }

    rows = re.findall(
        r"^\| `([A-Z]+ /v1[^`]*)` \| `([^`]+)` \| (yes|no) \| (yes|no) \|$", README.read_text(), re.MULTILINE
    )
    assert set(rows) == described
    assert len(rows) == len(set(rows))


def _admits(kinds: list[str]) -> tuple[str, str]:
    return "yes" if "pair" in kinds else "no", "yes" if "merchant_session" in kinds else "no"


def routes(service: Jobs) -> Iterator[tuple[GuardedRoute, str]]:
    """Every route of the API, once per method; the pages of problems, which are for everybody, are none of the API."""
    for route in service.app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            assert isinstance(route, GuardedRoute)
            for method in sorted(route.methods or ()):
                yield route, method
