"""The feed as a stream: each event once published, results by the name of their endpoint, and nobody else's."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from tests.harness.client import refused
from tests.harness.event_streams import opened, over_http
from tests.harness.receiver import Receiver
from tests.harness.waiting import eventually
from tests.harness.webhooks import Tenant, Webhooks

EVERYTHING = ("changed", {"object": "notice", "names": [], "everything": True})


@pytest.fixture(scope="module")
async def client(service: Webhooks) -> AsyncIterator[httpx.AsyncClient]:
    async with over_http(service.app) as client:
        yield client


async def test_events_and_results_are_streamed_to_their_tenant(
    client: httpx.AsyncClient, service: Webhooks, tenant: Tenant, receiver: Receiver
) -> None:
    before = await tenant.publish_job()
    made = await tenant.create_endpoint(receiver.url())

    async def stored() -> bool:
        return bool((await tenant.owner.read("/v1/events"))["data"])

    await eventually(stored, what="the first event is stored")
    stranger = await service.create_tenant()
    async with (
        opened(client, tenant.owner, "/v1/events") as stream,
        opened(client, stranger.owner, "/v1/events") as other,
    ):
        assert await stream.next_event() == await other.next_event() == EVERYTHING

        published = await tenant.publish_job()
        heard = [await stream.next_event(), await stream.next_event()]
        foreign = await stranger.publish_job()

        assert {kind for kind, _ in heard} == {"event", "changed"}
        event = next(document for kind, document in heard if kind == "event")
        assert (event["id"], event["data"]["job"]["id"]) == (published.id, published.subject)
        assert event["id"] != before.id
        changed = next(document for kind, document in heard if kind == "changed")
        assert changed == {"object": "notice", "names": [f"webhook-endpoints/{made['id']}"], "everything": False}
        assert (await other.next_event())[1]["id"] == foreign.id


async def test_a_stream_continues_after_the_last_event_that_was_seen(client: httpx.AsyncClient, tenant: Tenant) -> None:
    seen, missed = await tenant.publish_job(), None

    async def cursor_after_it() -> str | None:
        page = await tenant.owner.read("/v1/events")
        return page["next_cursor"] if [one["id"] for one in page["data"]] == [seen.id] else None

    cursor = await eventually(cursor_after_it, what="the event is stored")
    missed = await tenant.publish_job()

    async with opened(client, tenant.owner, f"/v1/events?cursor={quote(cursor)}") as stream:
        kind, document = await stream.next_event()
        while kind != "event":
            kind, document = await stream.next_event()
        assert document["id"] == missed.id


async def test_a_wrong_last_event_id_is_refused_before_the_stream_begins(tenant: Tenant) -> None:
    answer = await tenant.owner.get("/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "nonsense"})

    refused(answer, 400, "cursor_invalid")
