"""Log-in, refresh, log-out, passwords, invitations, and the rate limit on wrong passwords."""

import asyncio
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from identity.app import create_app
from shared.ids import to_uuid
from tests.harness.access import DISABLE_SUBJECT, REVOKE_KEY, REVOKE_SESSIONS, change_unannounced
from tests.harness.bodies import PASSWORD, email, merchant_body, staff_body, tenant_body, unique
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.services import serve
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually


async def test_owners_staff_and_merchants_log_in_by_tenant_id_or_name(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False, level=1)

    by_name = await identity.log_in(tenant.name.upper(), tenant.owner_email.upper())
    as_merchant = await merchant.session()

    assert by_name.document["principal"]["kind"] == "owner"
    assert as_merchant.document["principal"]["kind"] == "merchant"
    assert (await by_name.read("/v1/permissions"))["is_owner"] is True
    who = await as_merchant.read("/v1/auth/test")
    assert (who["principal"], who["subject_id"], who["livemode"]) == ("merchant", merchant.id, False)
    assert (await as_merchant.read("/v1/tenant"))["id"] == tenant.id
    claims = jwt.decode(by_name.document["token"], options={"verify_signature": False})
    assert claims["sub"] == tenant.document["owner"]["id"]
    assert claims["exp"] - claims["iat"] == 300


async def test_everything_that_is_wrong_with_a_login_is_answered_alike(identity: Identity, tenant: Tenant) -> None:
    attempts = [
        {"tenant": tenant.id, "email": tenant.owner_email, "password": "wrong password"},
        {"tenant": tenant.id, "email": email("nobody"), "password": PASSWORD},
        {"tenant": unique("No such tenant"), "email": tenant.owner_email, "password": PASSWORD},
        {"tenant": "ten_01h455vb4pex5vsknk084sn02q", "email": tenant.owner_email, "password": PASSWORD},
    ]

    problems = [
        refused(await identity.nobody.post("/v1/sessions", body), 401, "credentials_wrong") for body in attempts
    ]

    assert len({problem["detail"] for problem in problems}) == 1


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(backing: BackingStack, identity: Identity) -> None:
    more = {"argon2_memory_kib": 8192, "argon2_time_cost": 4, "account_attempts_per_minute": 1000}
    costly = identity.settings.model_copy(update=more)
    tenant = await identity.create_tenant()

    async def seconds(address: str) -> float:
        started = time.perf_counter()
        body = {"tenant": tenant.id, "email": address, "password": "wrong password"}
        refused(await service.nobody.post("/v1/sessions", body), 401, "credentials_wrong")
        return time.perf_counter() - started

    known, unknown = [], []
    async with serve(Identity, create_app, costly) as service:
        await service.log_in(tenant.id, tenant.owner_email)
        for _ in range(12):
            known.append(await seconds(tenant.owner_email))
            unknown.append(await seconds(email("nobody")))

    # Other work of the machine only makes answers slower: the fastest ones are compared.
    assert 0.4 < min(known) / min(unknown) < 2.5


async def test_a_log_in_asks_the_database_few_questions_and_an_unknown_address_as_many_as_a_wrong_password(
    identity: Identity, tenant: Tenant
) -> None:
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    asked: list[str] = []
    is_asking = ContextVar("is_asking", default=False)

    def note(statement: str) -> None:
        # The workers of the process ask in between, for what is theirs.
        if is_asking.get():
            asked.append(statement.split()[0].rstrip(";"))

    def note_prepared(connection: object, cursor: object, statement: str, *_: object) -> None:
        note(statement)

    def note_other(query: LoggedQuery) -> None:
        # What is asked of the driver itself.
        note(query.query)

    def listen(connection: DBAPIConnection, *_: object) -> None:
        connection.driver_connection.add_query_logger(note_other)

    def forget(connection: DBAPIConnection, *_: object) -> None:
        connection.driver_connection.remove_query_logger(note_other)

    async def statements(**more: str) -> list[str]:
        found = []
        for _ in range(4):
            asked.clear()
            is_asking.set(True)
            await identity.nobody.post("/v1/sessions", {**body, **more})
            found.append(list(asked))
        # A connection that is new asks for more.
        return min(found, key=len)

    engine = identity.app.state.edge.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note_prepared)
    event.listen(engine, "checkout", listen)
    event.listen(engine, "checkin", forget)
    try:
        right, wrong = await statements(), await statements(password="wrong password")
        unknown = await statements(email=email("nobody"))
    finally:
        event.remove(engine, "before_cursor_execute", note_prepared)
        event.remove(engine, "checkout", listen)
        event.remove(engine, "checkin", forget)

    # One read; then, in a transaction, what decides; the session with its refresh token; audit event; outbox.
    assert sorted(right) == ["BEGIN", "COMMIT", "INSERT", "INSERT", "SELECT", "WITH", "WITH"]
    assert 2 <= len(wrong) == len(unknown) <= 7, (wrong, unknown)


async def test_a_refresh_token_works_once_and_a_second_use_ends_the_session(identity: Identity, tenant: Tenant) -> None:
    person = await identity.log_in(tenant.id, tenant.owner_email)
    first = person.document["refresh_token"]

    second = document(await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": first}))
    person.headers["Authorization"] = f"Bearer {second['token']}"
    assert (await person.get("/v1/auth/test")).status_code == 200
    stolen = await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": first})
    next_one = await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": second["refresh_token"]})

    assert second["id"] == person.document["id"]
    refused(stolen, 401, "refresh_token_wrong")
    refused(next_one, 401, "refresh_token_wrong")
    refused(await person.get("/v1/auth/test"), 401, "session_revoked")
    unknown = await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": "wbr_nothing"})
    refused(unknown, 401, "refresh_token_wrong")


async def test_of_many_at_once_one_refresh_wins_and_the_session_ends(identity: Identity, tenant: Tenant) -> None:
    person = await identity.log_in(tenant.id, tenant.owner_email)
    body = {"refresh_token": person.document["refresh_token"]}

    answers = await asyncio.gather(*(identity.nobody.post("/v1/sessions/refresh", body) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]


async def test_logging_out_revokes_the_token_at_once(identity: Identity, tenant: Tenant) -> None:
    person = await identity.log_in(tenant.id, tenant.owner_email)

    assert (await person.delete("/v1/sessions/current")).status_code == 204

    refused(await person.get("/v1/auth/test"), 401, "session_revoked")
    token = {"refresh_token": person.document["refresh_token"]}
    refused(await identity.nobody.post("/v1/sessions/refresh", token), 401, "refresh_token_wrong")
    for _ in range(5):
        again = await identity.log_in(tenant.id, tenant.owner_email)
        assert (await again.get("/v1/auth/test")).status_code == 200
        await again.delete("/v1/sessions/current")
    owner_id = tenant.document["owner"]["id"]
    events = await identity.events(owner_id, "user.created", *["session.revoked"] * 6)
    assert events[1].data.sessions_valid_from <= events[2].data.sessions_valid_from


async def test_a_new_password_ends_the_other_sessions_and_goes_on_with_a_new_token(
    identity: Identity, tenant: Tenant
) -> None:
    here = await identity.log_in(tenant.id, tenant.owner_email)
    there = await identity.log_in(tenant.id, tenant.owner_email)
    body = {"current_password": PASSWORD, "new_password": "a better one, surely"}

    refused(await here.post("/v1/password", {**body, "current_password": "wrong"}), 403, "reauthentication_failed")
    renewed = document(await here.post("/v1/password", body))

    refused(await there.get("/v1/auth/test"), 401, "session_revoked")
    refused(await here.get("/v1/auth/test"), 401, "session_revoked")
    here.headers["Authorization"] = f"Bearer {renewed['token']}"
    assert (await here.get("/v1/auth/test")).status_code == 200
    token = {"refresh_token": there.document["refresh_token"]}
    refused(await identity.nobody.post("/v1/sessions/refresh", token), 401, "refresh_token_wrong")
    old = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", old), 401, "credentials_wrong")
    await identity.log_in(tenant.id, tenant.owner_email, "a better one, surely")
    short = await here.post("/v1/password", {"current_password": PASSWORD, "new_password": "short"})
    refused(short, 422, "invalid")


async def test_an_invited_owner_sets_a_password_once(identity: Identity) -> None:
    address = email("owner")
    owner = {"email": address, "first_name": "Ida", "last_name": "Invited"}
    made = await identity.platform.create("/v1/tenants", tenant_body(unique("Invitation"), owner=owner))
    acceptance = {"token": made["invitation_token"], "password": PASSWORD}
    early = {"tenant": made["id"], "email": address, "password": PASSWORD}

    refused(await identity.nobody.post("/v1/sessions", early), 401, "credentials_wrong")
    accepted = document(await identity.nobody.post("/v1/invitations/accept", acceptance))
    again = await identity.nobody.post("/v1/invitations/accept", acceptance)

    assert made["owner"]["status"] == "invited"
    assert accepted["principal"]["id"] == made["owner"]["id"]
    refused(again, 404, "invitation_not_found")
    person = await identity.log_in(made["id"], address)
    assert (await person.get("/v1/auth/test")).status_code == 200
    await identity.events(made["owner"]["id"], "user.created", "user.updated")


async def test_an_invitation_ends_with_its_address(identity: Identity, tenant: Tenant) -> None:
    invited = merchant_body(tenant.default_location, login_email=email("mistyped"))
    del invited["password"]
    merchant = await tenant.owner.create("/v1/merchants", invited)
    person = {key: value for key, value in staff_body("orders").items() if key != "password"}
    staff = await tenant.owner.create("/v1/staff", person)

    for made, path, field in ((merchant, "/v1/merchants", "login_email"), (staff, "/v1/staff", "email")):
        right = email("right")
        same = document(await tenant.owner.patch(f"{path}/{made['id']}", {field: made[field].upper()}))
        changed = document(await tenant.owner.patch(f"{path}/{made['id']}", {field: right}))
        former = {"token": made["invitation_token"], "password": PASSWORD}
        present = {"token": changed["invitation_token"], "password": PASSWORD}

        assert same["invitation_token"] is None
        refused(await identity.nobody.post("/v1/invitations/accept", former), 404, "invitation_not_found")
        document(await identity.nobody.post("/v1/invitations/accept", present))
        await identity.log_in(tenant.id, right)
        again = document(await tenant.owner.patch(f"{path}/{made['id']}", {field: email("other")}))
        assert again["invitation_token"] is None


async def test_wrong_passwords_are_limited_but_nobody_is_locked_out_for_good(
    identity: Identity, tenant: Tenant
) -> None:
    slow = identity.settings.model_copy(update={"account_attempts_per_minute": 12.0})
    wrong = {"tenant": tenant.id, "email": tenant.owner_email, "password": "wrong password"}

    async with serve(Identity, create_app, slow) as service:
        answers = await asyncio.gather(*(service.nobody.post("/v1/sessions", wrong) for _ in range(40)))

        async def refused_answer() -> httpx.Response | None:
            # Use up what the budget has refilled meanwhile.
            await service.nobody.post("/v1/sessions", wrong)
            answer = await service.nobody.post("/v1/sessions", {**wrong, "password": PASSWORD})
            return answer if answer.status_code != 201 else None

        limited = await eventually(refused_answer, what="the right password has to wait, too")
        wait_seconds = int(limited.headers["retry-after"])
        await asyncio.sleep(wait_seconds)
        person = await service.log_in(tenant.id, tenant.owner_email)

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert 12 <= statuses.count(401) <= 16
    refused(limited, 429, "too_many_attempts")
    assert 1 <= wait_seconds <= 5
    assert person.document["principal"]["tenant_id"] == tenant.id


async def test_strangers_lock_no_running_session_out(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session, other = await merchant.session(), await merchant.session()
    slow = identity.settings.model_copy(
        update={"account_attempts_per_minute": 3.0, "account_total_attempts_per_minute": 9.0}
    )
    wrong = {"tenant": tenant.id, "email": merchant.document["login_email"], "password": "wrong password"}

    async with serve(Identity, create_app, slow.model_copy(update={"trusted_proxies": "127.0.0.0/8"})) as service:

        async def log_in(address: str, **more: str) -> int:
            headers = {"X-Forwarded-For": address}
            return (await service.nobody.post("/v1/sessions", {**wrong, **more}, headers=headers)).status_code

        async def guess(count: int) -> list[int]:
            return [await log_in("203.0.113.1") for _ in range(count)]

        guessing = [asyncio.create_task(guess(60)) for _ in range(4)]
        elsewhere = [await log_in("203.0.113.2", password=PASSWORD) for _ in range(3)]
        at_one = [status for statuses in await asyncio.gather(*guessing) for status in statuses]
        from_many = [await log_in(f"203.0.113.{number}") for number in range(3, 20)]
        ours = service.nobody.using(session.headers)
        revealed = [await ours.post("/v1/api-settings/reveal", {"password": PASSWORD}) for _ in range(2)]
        guessed = [await ours.post("/v1/api-settings/rotate", {"password": "wrong password"}) for _ in range(6)]
        in_the_other = await service.nobody.using(other.headers).post("/v1/api-settings/reveal", {"password": PASSWORD})

    assert len(at_one) == 240
    assert 3 <= at_one.count(401) <= 20
    assert set(at_one) == {401, 429}
    assert elsewhere == [201] * 3
    assert from_many[-1] == 429
    assert [answer.status_code for answer in revealed] == [200, 200]
    assert [guessed[0].status_code, guessed[-1].status_code] == [403, 429]
    assert in_the_other.status_code == 200


async def test_the_limit_does_not_tell_which_account_exists(identity: Identity, tenant: Tenant) -> None:
    slow = identity.settings.model_copy(update={"account_attempts_per_minute": 12.0})

    async with serve(Identity, create_app, slow) as service:

        async def statuses(address: str) -> list[int]:
            names = (tenant.id, tenant.name, tenant.name.upper())
            bodies = [{"tenant": name, "email": address, "password": "wrong password"} for name in names * 6]
            return [(await service.nobody.post("/v1/sessions", body)).status_code for body in bodies]

        known, unknown = await statuses(tenant.owner_email), await statuses(email("nobody"))

    for found in (known, unknown):
        assert found[:12] == [401] * 12
        assert 429 in found


async def test_a_new_password_uses_up_the_refresh_tokens_of_before(identity: Identity, tenant: Tenant) -> None:
    person = await identity.log_in(tenant.id, tenant.owner_email)
    former = {"refresh_token": person.document["refresh_token"]}
    body = {"current_password": PASSWORD, "new_password": "another long password"}
    changed = await person.create("/v1/password", body)

    refused(await identity.nobody.post("/v1/sessions/refresh", former), 401, "refresh_token_wrong")

    latest = {"refresh_token": changed["refresh_token"]}
    refused(await identity.nobody.post("/v1/sessions/refresh", latest), 401, "refresh_token_wrong")
    (reused,) = (
        await (await identity.log_in(tenant.id, tenant.owner_email, "another long password")).read(
            "/v1/audit-events?action=session.reuse_detected"
        )
    )["data"]
    assert reused["target"] == person.document["id"]


async def test_right_passwords_are_never_limited(identity: Identity, tenant: Tenant) -> None:
    for _ in range(25):
        await identity.log_in(tenant.id, tenant.owner_email)


async def test_nobody_logs_in_to_a_suspended_tenant(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    integration = await merchant.reveal()

    suspended = await identity.platform.create(f"/v1/tenants/{tenant.id}/suspend")

    refused(await tenant.owner.get("/v1/auth/test"), 403, "tenant_suspended")
    refused(await integration.get("/v1/auth/test"), 403, "tenant_suspended")
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", body), 403, "tenant_suspended")
    assert await identity.platform.create(f"/v1/tenants/{tenant.id}/suspend") == suspended
    await identity.platform.create(f"/v1/tenants/{tenant.id}/activate")
    assert (await tenant.owner.get("/v1/auth/test")).status_code == 200
    assert (await integration.get("/v1/auth/test")).status_code == 200


async def test_an_expired_trial_still_lets_people_in_and_credentials_be_revoked(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    await identity.begin_trial(tenant.id, ends_in=timedelta(seconds=-1), sequence=2)

    refused(await tenant.owner.get("/v1/merchants"), 402, "subscription_required")
    refused(await tenant.owner.post("/v1/merchants", {"nonsense": 1}), 402, "subscription_required")
    person = await identity.log_in(tenant.id, tenant.owner_email)
    assert (await person.get("/v1/tenant")).status_code == 200
    assert (await person.get("/v1/permissions/catalog")).status_code == 200
    assert (await person.delete(f"/v1/merchants/{merchant.id}/api-access")).status_code == 204
    assert (await person.delete("/v1/sessions/current")).status_code == 204


async def test_a_session_token_expires_by_the_clock(identity: Identity, tenant: Tenant) -> None:
    brief = identity.settings.model_copy(update={"session_seconds": 3})
    async with serve(Identity, create_app, brief) as service:
        person = await service.log_in(tenant.id, tenant.owner_email)
        assert (await person.get("/v1/auth/test")).status_code == 200
        ends_at = datetime.fromisoformat(person.document["expires_at"])
        await asyncio.sleep((ends_at - datetime.now(UTC)).total_seconds() + 0.05)
        refused(await person.get("/v1/auth/test"), 401, "token_expired")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [(REVOKE_SESSIONS, 401, "session_revoked"), (DISABLE_SUBJECT, 401, "subject_disabled")],
)
async def test_a_session_that_ends_between_the_decision_and_the_write_writes_nothing(
    identity: Identity, tenant: Tenant, change: str, status: int, code: str
) -> None:
    clerk = await tenant.create_staff("settings.locations.read", "settings.locations.write")
    locations = (await clerk.read("/v1/locations"))["data"]

    await change_unannounced(identity.settings.database_url, change, to_uuid(clerk.subject_id))
    refused(await clerk.post("/v1/locations", {"name": "Québec"}), status, code)
    refused(
        await clerk.post("/v1/password", {"current_password": PASSWORD, "new_password": "a better one"}), status, code
    )

    assert (await tenant.owner.read("/v1/locations"))["data"] == locations


async def test_a_key_that_is_revoked_between_the_decision_and_the_write_writes_nothing(
    identity: Identity, tenant: Tenant
) -> None:
    made = await tenant.owner.create(
        "/v1/api-keys", {"name": "ERP", "scopes": ["settings.locations.read", "settings.locations.write"]}
    )
    key = identity.nobody.using({"X-Api-Key": made["api_key"]}, made)
    locations = (await key.read("/v1/locations"))["data"]

    await change_unannounced(identity.settings.database_url, REVOKE_KEY, made["id"])

    refused(await key.post("/v1/locations", {"name": "Québec"}), 401, "credential_revoked")
    assert (await tenant.owner.read("/v1/locations"))["data"] == locations


async def test_a_merchant_that_is_disabled_meanwhile_gets_no_credentials(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False)
    session = await merchant.session()
    assert (await session.get("/v1/api-settings")).status_code == 200

    await change_unannounced(identity.settings.database_url, DISABLE_SUBJECT, to_uuid(merchant.id))

    for path in ("/v1/api-settings/reveal", "/v1/api-settings/rotate"):
        refused(await session.post(path, {"password": PASSWORD}), 401, "subject_disabled")


async def test_a_body_for_which_nobody_answers_is_small(identity: Identity, tenant: Tenant) -> None:
    login = {"tenant": tenant.name, "email": tenant.owner_email, "password": "x" * 20_000}

    answers = [await identity.nobody.post(path, login) for path in ("/v1/sessions", "/v1/sessions/refresh")]

    assert [(answer.status_code, answer.json()["bytes_max"]) for answer in answers] == [(413, 16 * 1024)] * 2
