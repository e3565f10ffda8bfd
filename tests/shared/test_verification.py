"""What it costs to find out who calls: one query at first, none while nothing changes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import event, text

from shared.access import credentials
from tests.harness.client import Api, refused
from tests.harness.edge_app import EdgeTestApp, run_edge_app
from tests.harness.waiting import eventually

BACKGROUND = ("consumer_progress", "access_signing_keys")
"""What the process asks from time to time, whoever calls."""


@contextmanager
def statements(edge: EdgeTestApp) -> Iterator[list[str]]:
    """The statements that the service executes for callers in the block."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not any(table in statement for table in BACKGROUND):
            found.append(statement)

    engine = edge.service.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def callers(edge: EdgeTestApp) -> dict[str, Api]:
    """One caller of each kind."""
    tenant = await edge.create_tenant()
    merchant = await tenant.create_merchant()
    key = credentials.new_api_key(livemode=True)
    owner_id = tenant.owner.subject_id
    await edge.publish(
        edge.people.key_issued("user_key", key, tenant_id=tenant.id, user_id=owner_id, scopes=["orders"])
    )
    return {
        "API credentials": merchant.api,
        "user key": edge.nobody.using({"X-Api-Key": key}),
        "platform key": edge.people.platform.in_tenant(tenant.id),
        "session": tenant.owner,
        "merchant's session": await merchant.session(),
    }


async def test_a_caller_costs_one_query_at_first_and_none_while_nothing_changes(edge: EdgeTestApp) -> None:
    for kind, caller in (await callers(edge)).items():

        async def costs(caller: Api = caller) -> tuple[int, int]:
            edge.service.access.forget("*")
            with statements(edge) as cold:
                assert (await caller.get("/v1/anyone")).status_code == 200
            with statements(edge) as warm:
                assert (await caller.get("/v1/anyone")).status_code == 200
            return len(cold), len(warm)

        async def settled(costs: Callable[[], Awaitable[tuple[int, int]]] = costs) -> bool:
            # What is read while the notice of a change arrives is not kept.
            return await costs() == (1, 0)

        await eventually(settled, what=f"one query at first, and none after it: {kind}")


async def test_what_was_asked_for_before_a_pause_decides_about_nobody_who_comes_after_it(database_url: str) -> None:
    async with run_edge_app(database_url, access_cache_ttl_seconds=0.05) as edge:
        merchant = await (await edge.create_tenant()).create_merchant()
        async with edge.service.database.transaction() as session:
            # Its answer comes late, as to a process that stands still.
            await session.execute(text("LOCK TABLE access_credentials IN ACCESS EXCLUSIVE MODE"))
            waiting = text(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'access_credentials'::regclass"
            )
            callers: list[asyncio.Task[httpx.Response]] = []
            for _ in range(2):
                callers.append(asyncio.create_task(merchant.api.get("/v1/anyone")))

                async def asked(count: int = len(callers)) -> bool:
                    return bool((await session.execute(waiting)).scalar_one() >= count)

                await eventually(asked, what="whoever comes later asks again")
                await asyncio.sleep(0.06)
        assert [(await one).status_code for one in callers] == [200, 200]


async def test_an_unknown_credential_costs_one_query_and_a_misspelt_one_none(edge: EdgeTestApp) -> None:
    merchant = await (await edge.create_tenant()).create_merchant()
    wrong = merchant.tenant.owner.basic("acct_01h455vb4pex5vsknk084sn02q", credentials.new_api_key(livemode=True))
    misspelt = merchant.tenant.owner.basic(merchant.account_id, merchant.key[:-1])

    async def settled() -> bool:
        edge.service.access.forget("*")
        with statements(edge) as unknown:
            for _ in range(2):
                refused(await wrong.get("/v1/anyone"), 401, "credentials_wrong")
        with statements(edge) as malformed:
            refused(await misspelt.get("/v1/anyone"), 401, "credentials_wrong")
        assert malformed == []
        return len(unknown) == 1

    # What is read while the notice of a change arrives is not kept.
    await eventually(settled, what="one query for two requests")


async def test_the_end_of_a_trial_costs_no_query(edge: EdgeTestApp) -> None:
    tenant = await edge.create_tenant(ends_in=timedelta(days=-1))
    merchant = await tenant.create_merchant()

    async def settled() -> bool:
        await merchant.api.get("/v1/notes")
        with statements(edge) as found:
            assert (await merchant.api.post("/v1/notes", {"text": "a"})).status_code == 402
        return found == []

    await eventually(settled, what="no query")
