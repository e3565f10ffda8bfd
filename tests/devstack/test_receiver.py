"""The receiver of the demo: it verifies, keeps within bounds, and misbehaves only when asked to."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from deploy.devstack import receiver
from tests.harness.servers import listening

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        listening(web.AppRunner(receiver.create_receiver())) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


def signed(body: str, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", now, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


async def test_a_signed_delivery_is_verified_and_listed(http: httpx.AsyncClient) -> None:
    await http.put("/hooks/shop/secret", json={"secret": SECRET})

    answer = await http.post(
        "/hooks/shop", content='{"type": "job.created"}', headers=signed('{"type": "job.created"}')
    )

    assert answer.status_code == 200
    listed = (await http.get("/received", params={"name": "shop"})).json()
    assert listed["count"] == 1
    assert listed["data"][0]["verified"] is True
    assert listed["data"][0]["json"] == {"type": "job.created"}
    assert listed["data"][0]["headers"]["webhook-id"] == "msg_1"


async def test_a_forged_delivery_is_refused_and_says_why(http: httpx.AsyncClient) -> None:
    await http.put("/hooks/shop/secret", json={"secret": SECRET})

    answer = await http.post("/hooks/shop", content='{"type": "forged"}', headers=signed('{"type": "job.created"}'))

    assert answer.status_code == 401
    (kept,) = (await http.get("/received")).json()["data"]
    assert (kept["verified"], kept["reason"]) == (False, "No matching signature found")


async def test_both_secrets_of_a_rotation_verify(http: httpx.AsyncClient) -> None:
    newer = "whsec_" + base64.b64encode(b"another secret, 24 bytes").decode()
    await http.put("/hooks/shop/secret", json={"secret": SECRET})
    await http.put("/hooks/shop/secret", json={"secret": newer})

    for secret in (SECRET, newer):
        assert (await http.post("/hooks/shop", content="{}", headers=signed("{}", secret))).status_code == 200


async def test_without_a_secret_nothing_is_claimed(http: httpx.AsyncClient) -> None:
    await http.post("/hooks/unknown", content="not JSON")

    (kept,) = (await http.get("/received")).json()["data"]
    assert (kept["verified"], kept["json"], kept["body"]) == (None, None, "not JSON")


@pytest.mark.parametrize("status", [204, 302, 410, 500])
async def test_it_answers_what_it_is_asked_to(http: httpx.AsyncClient, status: int) -> None:
    answer = await http.post(f"/hooks/shop?status={status}&delay_ms=50", content="{}")

    assert answer.status_code == status
    assert answer.elapsed.total_seconds() >= 0.05


@pytest.mark.parametrize("query", ["status=99", "status=x", "delay_ms=60001", "delay_ms=-1"])
async def test_impossible_wishes_are_422(http: httpx.AsyncClient, query: str) -> None:
    assert (await http.post(f"/hooks/shop?{query}", content="{}")).status_code == 422


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"secret": 5}', '{"secret": ""}', '{"secret": "whsec_§"}'])
async def test_something_that_is_no_secret_is_422(http: httpx.AsyncClient, body: str) -> None:
    assert (await http.put("/hooks/shop/secret", content=body.encode())).status_code == 422


async def test_names_are_kept_apart_and_memory_can_be_emptied(http: httpx.AsyncClient) -> None:
    await http.post("/hooks/one", content="1")
    await http.post("/hooks/two", content="2")

    assert [kept["body"] for kept in (await http.get("/received?name=two")).json()["data"]] == ["2"]
    assert (await http.delete("/received")).status_code == 204
    assert (await http.get("/received")).json()["count"] == 0


async def test_memory_is_bounded_and_the_newest_stay(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "REQUESTS_KEPT_MAX", 3)
    for number in range(5):
        await http.post("/hooks/shop", content=str(number))
    assert [kept["body"] for kept in (await http.get("/received")).json()["data"]] == ["2", "3", "4"]

    monkeypatch.setattr(receiver, "KEPT_BYTES_MAX", 10)
    await http.post("/hooks/shop", content="123456789")
    assert [kept["body"] for kept in (await http.get("/received")).json()["data"]] == ["4", "123456789"]


async def test_a_body_beyond_the_bound_is_413(http: httpx.AsyncClient) -> None:
    answer = await http.post("/hooks/shop", content=b"x" * (receiver.BODY_BYTES_MAX + 1))

    assert answer.status_code == 413
