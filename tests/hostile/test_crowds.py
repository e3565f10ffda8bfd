"""One address with very many connections or requests, and the others meanwhile."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.devstack.forks import Forker
from shared.chassis.connection_bounds import BODY_BYTES_PER_TURN
from shared.chassis.server import CLOSED_PER_TICK
from tests.harness.edge_process import EdgeProcess, run_edge_process
from tests.harness.raw_http import Answer, RawConnection, ask, connected, request
from tests.harness.waiting import eventually

CROWD = 20
HELLO = request("/v1/hello")
NOTE = b'{"text": "a note"}'


def note_head(edge: EdgeProcess) -> bytes:
    return request(
        "/v1/notes", *edge.credentials, "Content-Type: application/json", "Content-Length: 18", method="POST"
    )


async def test_requests_whose_bodies_are_on_their_way_take_no_place(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    async with (
        run_edge_process(database_url, tmp_path, forker, requests_in_flight_max=2) as edge,
        AsyncExitStack() as crowd,
    ):
        waiting = [await crowd.enter_async_context(connected(edge.port)) for _ in range(CROWD)]
        for connection in waiting:
            await connection.send(note_head(edge) + NOTE[:1])

        meanwhile = [await ask(edge.port, note_head(edge) + NOTE) for _ in range(CROWD)]
        for connection in waiting:
            await connection.send(NOTE[1:])
            assert (await connection.answer()).status == 201

    assert [answer.status for answer in meanwhile] == [201] * CROWD


async def test_bodies_that_do_not_end_hold_a_bounded_share_for_each_credential(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    piece = b" " * 16_384

    def begun(credentials: list[str]) -> bytes:
        fields = (*credentials, "Content-Type: application/json", "Content-Length: 200000")
        return request("/v1/notes", *fields, method="POST") + piece

    bounds = {"arriving_bytes_per_credential_max": 4 * len(piece), "body_idle_seconds": 60}
    async with (
        run_edge_process(database_url, tmp_path, forker, **bounds) as edge,
        AsyncExitStack() as crowd,
    ):
        unfinished = [await crowd.enter_async_context(connected(edge.port)) for _ in range(CROWD)]
        for connection in unfinished:
            await connection.send(begun(edge.credentials))
        answers = [asyncio.create_task(connection.answer()) for connection in unfinished]
        refused = await eventually(lambda: answered(answers, CROWD - 4), what="all but four are refused")
        complete = await ask(edge.port, note_head(edge) + NOTE)
        still_open = [answer for answer in answers if not answer.done()]
        for answer in still_open:
            answer.cancel()

    assert {(answer.status, answer.json()["code"]) for answer in refused} == {(429, "too_many_bodies")}
    assert {(answer.headers["retry-after"], answer.headers["connection"]) for answer in refused} == {("1", "close")}
    assert len(still_open) == 4
    assert complete.status == 201


def answered(answers: list[asyncio.Task[Answer]], count: int) -> list[Answer] | None:
    done = [answer.result() for answer in answers if answer.done()]
    return done if len(done) >= count else None


async def test_answers_that_nobody_reads_have_a_bound_for_all_and_the_slowest_of_the_greediest_loses(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    document = request("/openapi.json")
    async with (
        run_edge_process(database_url, tmp_path, forker, unread_bytes_max=1024 * 1024) as edge,
        AsyncExitStack() as crowd,
    ):

        async def connect(source: str) -> RawConnection:
            return await crowd.enter_async_context(connected(edge.port, source=source))

        size = len((await ask(edge.port, document)).body)
        modest = await connect("127.0.0.3")
        await modest.send(document)
        greedy = [await connect("127.0.0.2") for _ in range(CROWD)]

        async def lost() -> bool:
            for connection in greedy:
                await connection.send(document)
            return any(connection.is_closed for connection in greedy)

        await eventually(lost, what="a connection whose answers nobody reads is closed")
        assert len((await modest.answer()).body) == size
        assert (await ask(edge.port, HELLO)).status == 200


async def test_heads_that_do_not_end_have_a_bound_for_all_and_the_slowest_of_the_greediest_loses(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    bounds = {"unfinished_head_bytes_max": 65_536, "head_seconds": 60}
    async with run_edge_process(database_url, tmp_path, forker, **bounds) as edge, AsyncExitStack() as crowd:

        async def begun(source: str, padding: int) -> RawConnection:
            connection = await crowd.enter_async_context(connected(edge.port, source=source))
            await connection.send(HELLO[:-2] + b"X: " + b"a" * padding)
            return connection

        modest = await begun("127.0.0.3", 10)
        greedy = [await begun("127.0.0.2", 20_000) for _ in range(CROWD)]
        answers = [asyncio.create_task(connection.answer()) for connection in greedy]
        refused = await eventually(lambda: answered(answers, CROWD - 3), what="all but three are refused")
        still_open = [answer for answer in answers if not answer.done()]
        for answer in still_open:
            answer.cancel()
        await modest.send(b"\r\n\r\n")

        assert (await modest.answer()).status == 200
    assert {(answer.status, answer.json()["code"]) for answer in refused} == {(503, "too_many_heads")}
    assert len(still_open) == 3


async def test_a_crowd_of_silent_clients_is_closed_and_others_are_served_meanwhile(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    async with (
        run_edge_process(database_url, tmp_path, forker, head_seconds=1) as edge,
        AsyncExitStack() as crowd,
    ):
        silent = [await crowd.enter_async_context(connected(edge.port)) for _ in range(2 * CLOSED_PER_TICK + 1)]
        ended = asyncio.gather(*(connection.ended() for connection in silent))
        while not ended.done():
            assert (await ask(edge.port, HELLO)).status == 200

        assert all(await ended)


async def test_bodies_that_arrive_all_at_once_are_all_read(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    fields = ("Content-Type: application/json",)
    async with run_edge_process(database_url, tmp_path, forker) as edge, AsyncExitStack() as crowd:
        note = request("/v1/notes", *edge.credentials, *fields, body=NOTE.ljust(200_000), method="POST")
        connections = [await crowd.enter_async_context(connected(edge.port)) for _ in range(2 * CROWD)]

        await asyncio.gather(*(connection.send(note) for connection in connections))
        answers = [await connection.answer() for connection in connections]

    assert 2 * CROWD * len(note) > 3 * BODY_BYTES_PER_TURN
    assert {answer.status for answer in answers} == {201}


async def test_an_address_with_too_many_connections_loses_those_that_wait_longest(
    database_url: str, forker: Forker | None, tmp_path: Path
) -> None:
    async with (
        run_edge_process(database_url, tmp_path, forker, connections_per_address_max=4) as edge,
        AsyncExitStack() as crowd,
    ):

        async def connect(source: str) -> RawConnection:
            return await crowd.enter_async_context(connected(edge.port, source=source))

        other = await connect("127.0.0.3")
        first = await connect("127.0.0.2")
        busy = await connect("127.0.0.2")
        for _ in range(CROWD):
            one = await connect("127.0.0.2")
            await one.send(HELLO[:-2])
            await busy.send(HELLO)
            assert (await busy.answer()).status == 200
        assert await first.ended()
        await other.send(HELLO)
        assert (await other.answer()).status == 200


@pytest.mark.parametrize("share", ["address", "process"])
async def test_requests_beyond_a_share_are_refused(
    database_url: str, forker: Forker | None, tmp_path: Path, share: str
) -> None:
    bounds = {"requests_in_flight_per_address_max": 1} if share == "address" else {"requests_in_flight_max": 1}
    refusal = (429, "too_many_in_flight") if share == "address" else (503, "overloaded")
    seen: set[tuple[int, str | None]] = set()

    async with run_edge_process(database_url, tmp_path, forker, **bounds) as edge, AsyncExitStack() as crowd:
        connections = [await crowd.enter_async_context(connected(edge.port)) for _ in range(CROWD)]

        async def refused() -> bool:
            for connection in connections:
                await connection.send(note_head(edge) + NOTE)
            for connection in connections:
                answer = await connection.answer()
                seen.add((answer.status, answer.json().get("code")))
                assert answer.status == 201 or answer.headers["retry-after"] == "1"
            return refusal in seen

        await eventually(refused, what="a request is refused")

    assert seen == {(201, None), refusal}
