"""Rate limits at the HTTP edge: whose wrong credentials are charged to whom, and who passes all the same."""

import asyncio
from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy import event

from shared.access import credentials
from tests.harness.client import refused
from tests.harness.edge_app import EdgeTestApp, run_edge_app
from tests.harness.people import subscription


async def test_a_credential_over_its_rate_gets_429(database_url: str) -> None:
    async with run_edge_app(database_url, credential_rate_per_second=5) as edge:
        tenant = await edge.create_tenant()

        # So many that a bucket which fills up meanwhile is emptied all the same.
        answers = [await tenant.owner.get("/v1/anyone") for _ in range(60)]

        assert answers[0].headers["ratelimit-policy"] == '"credential";q=5;w=1'
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        refused(limited[0], 429, "rate_limited")
        assert int(limited[0].headers["retry-after"]) >= 1


async def test_a_tenant_may_ask_as_often_as_its_plan_includes(database_url: str) -> None:
    async with run_edge_app(database_url) as edge:
        tenant, other = await edge.create_tenant(), await edge.create_tenant()
        later = datetime.now(UTC) + timedelta(days=1)
        await edge.publish(subscription(tenant.id, later, sequence=2, requests_per_second=5))

        answers = [await tenant.owner.get("/v1/anyone") for _ in range(60)]

        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        assert limited[0].headers["ratelimit-policy"] == '"tenant";q=5;w=1'
        assert {(await other.owner.get("/v1/anyone")).status_code for _ in range(20)} == {200}


async def test_an_address_that_guesses_is_slowed_down(database_url: str) -> None:
    async with run_edge_app(database_url, failed_authentications_per_minute=3) as edge:
        merchant = await (await edge.create_tenant()).create_merchant()
        statuses = []
        for _ in range(6):
            merchant.key = credentials.new_api_key(livemode=True)
            statuses.append((await merchant.api.get("/v1/anyone")).status_code)

        assert statuses[:3] == [401, 401, 401]
        assert statuses[-1] == 429


async def test_good_credentials_pass_behind_an_address_that_guesses(database_url: str) -> None:
    async with run_edge_app(database_url, failed_authentications_per_minute=3) as edge:
        tenant = await edge.create_tenant()
        merchant = await tenant.create_merchant()
        good = merchant.api
        merchant.key = credentials.new_api_key(livemode=True)
        for _ in range(6):
            await merchant.api.get("/v1/anyone")

        assert (await merchant.api.get("/v1/anyone")).status_code == 429
        assert (await good.get("/v1/anyone")).status_code == 200
        assert (await tenant.owner.get("/v1/anyone")).status_code == 200


async def test_the_client_is_whom_a_trusted_proxy_names(database_url: str) -> None:
    wrong = {"X-Api-Key": credentials.new_api_key(livemode=True)}

    async def statuses(edge: EdgeTestApp, *forwarded: str) -> list[int]:
        headers = [{**wrong, "X-Forwarded-For": one} for one in forwarded]
        return [(await edge.client.get("/v1/anyone", headers=one)).status_code for one in headers]

    async with run_edge_app(
        database_url, failed_authentications_per_minute=3, trusted_proxies="127.0.0.0/8, 10.0.0.0/8"
    ) as edge:
        # The client itself wrote what stands before its own address.
        guesses = [f"192.0.2.{number}, 203.0.113.9, 10.1.2.3" for number in range(6)]
        assert (await statuses(edge, *guesses))[-1] == 429
        assert await statuses(edge, "203.0.113.10", "203.0.113.9") == [401, 429]
    async with run_edge_app(database_url, failed_authentications_per_minute=3) as edge:
        assert (await statuses(edge, *(f"192.0.2.{number}" for number in range(6))))[-1] == 429


async def test_invented_signing_keys_cost_few_queries_and_count_as_guesses(
    edge: EdgeTestApp, database_url: str
) -> None:
    queries: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        queries.append(statement)

    def token(key_id: str) -> dict[str, str]:
        return {"Authorization": "Bearer " + jwt.encode({}, "x" * 32, headers={"kid": key_id})}

    engine = edge.service.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        same = [await edge.client.get("/v1/anyone", headers=token("nobody")) for _ in range(100)]
        others = [await edge.client.get("/v1/anyone", headers=token(f"no{number}")) for number in range(100)]
    finally:
        event.remove(engine, "before_cursor_execute", note)

    for answer in (*same, *others):
        refused(answer, 401, "token_key_unknown")
    assert len([one for one in queries if "access_signing_keys" in one]) < 100
    async with run_edge_app(database_url, failed_authentications_per_minute=3) as slow:
        answers = [await slow.client.get("/v1/anyone", headers=token("nobody")) for _ in range(6)]
    assert [answer.status_code for answer in answers[:3]] == [401] * 3
    assert answers[-1].status_code == 429


async def test_requests_that_arrive_together_with_a_new_signing_key_are_all_admitted(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant()
    # As in a replica that has not read this key yet.
    edge.service.access._public_keys = {}

    answers = await asyncio.gather(*(tenant.owner.get("/v1/anyone") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
