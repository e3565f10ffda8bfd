"""Requests that are too large, too slow, ambiguous or no HTTP, as bytes on a socket of a real process."""

import asyncio

import pytest

from tests.harness.edge_process import EdgeProcess
from tests.harness.raw_http import Answer, ask, connected, request

HEAD_BYTES_MAX = 32 * 1024
FIELDS_MAX = 100
HELLO = request("/v1/hello")
NOTE = b'{"text": "a note"}'
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def note_head(edge: EdgeProcess, *headers: str) -> bytes:
    return request("/v1/notes", *edge.credentials, JSON, *headers, method="POST")


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def refused(answer: Answer, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.json()["code"]) == (status, code), answer.body
    return answer.headers.get("connection") == "close"


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /v1/hello HTTP/1.1\r\nHost: a\r\nX: " + b"a" * HEAD_BYTES_MAX,
        b"GET /v1/hello HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * (FIELDS_MAX + 1),
        b"GET /v1/hello HTTP/1.1\r\nHost: a\r\nX: " + b" " * HEAD_BYTES_MAX,
        b"GET /v1/hello HTTP/1.1\r\n" + b"x" * HEAD_BYTES_MAX,
        b"GET /" + b"x" * HEAD_BYTES_MAX,
        b"\r\n" * HEAD_BYTES_MAX,
        request("/v1/hello", "X: " + "a" * HEAD_BYTES_MAX),
        HELLO[:-2] + b"X: " + b"a" * (1024 * 1024),
    ],
    ids=["value", "fields", "blanks", "name", "target", "empty lines", "complete", "much"],
)
async def test_a_head_without_end_is_refused(edge: EdgeProcess, beginning: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(beginning)

        assert refused(await connection.answer(), 431, "header_fields_too_large")
        assert await connection.ended()


async def test_a_head_may_be_as_large_as_the_bound(edge: EdgeProcess) -> None:
    empty = request("/v1/hello", "X: ")
    whole = request("/v1/hello", "X: " + "a" * (HEAD_BYTES_MAX - len(empty) - 64))
    fields = request("/v1/hello", *(f"X-{number}: a" for number in range(FIELDS_MAX - 1)))

    assert [(await ask(edge.port, sent)).status for sent in (whole, fields)] == [200, 200]


async def test_a_large_head_behind_another_request_is_refused_after_its_answer(edge: EdgeProcess) -> None:
    async with connected(edge.port) as connection:
        await connection.send(HELLO + request("/v1/hello", "X: " + "a" * HEAD_BYTES_MAX))

        assert (await connection.answer()).status == 200
        assert refused(await connection.answer(), 431, "header_fields_too_large")
        assert await connection.ended()


@pytest.mark.parametrize(
    "trailer",
    [b"X: a\r\n" * (FIELDS_MAX + 2), b"X: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n", b"X: " + b"a" * HEAD_BYTES_MAX * 3],
    ids=["fields", "value", "without end"],
)
async def test_trailers_have_the_bounds_of_a_head(edge: EdgeProcess, trailer: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, CHUNKED) + chunk(NOTE) + b"0\r\n", trailer)

        assert refused(await connection.answer(), 431, "header_fields_too_large")
        assert await connection.ended()


@pytest.mark.parametrize("beginning", [b"G", HELLO[:-2], HELLO[:-2] + b"X: a"], ids=["line", "fields", "value"])
async def test_a_head_that_does_not_end_is_refused_after_a_while(edge: EdgeProcess, beginning: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(beginning)

        assert refused(await connection.answer(), 408, "head_timeout")
        assert await connection.ended()


async def test_a_head_that_comes_byte_by_byte_is_refused_after_a_while(edge: EdgeProcess) -> None:
    async def dribble() -> None:
        while True:
            await connection.send(b"X: a\r\n")
            await asyncio.sleep(0.2)

    async with connected(edge.port) as connection:
        await connection.send(HELLO + HELLO[:-2])
        dribbling = asyncio.create_task(dribble())
        first, second = await connection.answer(), await connection.answer()
        dribbling.cancel()

    assert first.status == 200
    assert refused(second, 408, "head_timeout")


async def test_a_connection_on_which_nothing_is_asked_is_closed(edge: EdgeProcess) -> None:
    async with connected(edge.port) as connection:
        assert await connection.ended()


@pytest.mark.parametrize("sent", [b"", b"{", b'{"text": "a'])
async def test_a_body_that_pauses_is_refused_after_a_while(edge: EdgeProcess, sent: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, "Content-Length: 100") + sent)

        assert refused(await connection.answer(), 408, "body_timeout")
        assert await connection.ended()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_comes_too_slowly_is_refused_after_a_while(edge: EdgeProcess, chunked: bool) -> None:
    async def dribble() -> None:
        while True:
            await connection.send(chunk(b" ") if chunked else b" ")
            await asyncio.sleep(0.2)

    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, CHUNKED if chunked else "Content-Length: 100000"))
        dribbling = asyncio.create_task(dribble())
        answer = await connection.answer()
        dribbling.cancel()

    assert refused(answer, 408, "body_timeout")


async def test_a_body_that_nobody_reads_ends_its_connection(edge: EdgeProcess) -> None:
    async with connected(edge.port) as connection:
        await connection.send(request("/v1/notes", JSON, "Content-Length: 100", method="POST"))

        assert (await connection.answer()).status == 401
        assert await connection.ended()


@pytest.mark.parametrize(
    "upgrade",
    [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"],
        ["Connection: keep-alive, Upgrade", "Upgrade: websocket"],
        ["Upgrade: TLS/1.3, h2c", "Connection: upgrade"],
    ],
    ids=["h2c", "websocket", "several"],
)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("apart", [False, True])
async def test_an_upgrade_is_ignored_and_the_body_read(
    edge: EdgeProcess, upgrade: list[str], chunked: bool, apart: bool
) -> None:
    body = chunk(NOTE) + b"0\r\n\r\n" if chunked else NOTE
    head = note_head(edge, *upgrade, CHUNKED if chunked else f"Content-Length: {len(NOTE)}")
    async with connected(edge.port) as connection:
        if apart:
            await connection.send(HELLO + head[:40])
            assert (await connection.answer()).status == 200
            await connection.send(head[40:], body[:5])
            await connection.send(body[5:])
        else:
            await connection.send(head + body + HELLO)
        created = await connection.answer()
        if apart:
            await connection.send(HELLO)
        after = await connection.answer()

    assert (created.status, created.json()["text"]) == (201, "a note")
    assert (after.status, after.json()["text"]) == (200, "hello")


async def test_a_body_is_never_read_as_a_request(edge: EdgeProcess) -> None:
    hidden = request("/v1/notes/1", method="DELETE")
    upgrade = ["Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(hidden)}"]
    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, *upgrade))
        await connection.send(hidden)
        first = await connection.answer()
        await connection.send(HELLO)
        second = await connection.answer()

    assert (first.status, first.json()["code"]) == (400, "json_malformed")
    assert (second.status, second.json()["text"]) == (200, "hello")


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", CHUNKED],
        [CHUNKED, "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length : 5"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity", CHUNKED],
        [CHUNKED, CHUNKED],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X: a\r\n Transfer-Encoding: chunked"],
        ["X: a\nTransfer-Encoding: chunked"],
        ["X: a\rTransfer-Encoding: chunked"],
        ["X: a\x00b"],
        [": a"],
        ["Upgrade: h2c", "Connection: Upgrade", "Content-Length: 5", CHUNKED],
    ],
)
async def test_what_another_server_could_read_differently_is_refused(edge: EdgeProcess, headers: list[str]) -> None:
    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, *headers) + b"0\r\n\r\n" + HELLO)

        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await connection.ended()


@pytest.mark.parametrize(
    "body", [b"5\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n", b"5\r\nhello!\r\n0\r\n\r\n"]
)
async def test_a_malformed_chunk_is_refused(edge: EdgeProcess, body: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(note_head(edge, CHUNKED), body)

        assert refused(await connection.answer(), 400, "request_malformed")
        assert await connection.ended()


async def test_a_trailer_is_no_header(edge: EdgeProcess) -> None:
    (credential,) = edge.credentials
    head = request("/v1/notes", JSON, CHUNKED, "Trailer: Authorization", method="POST")
    end = chunk(NOTE) + b"0\r\n" + credential.encode() + b"\r\n\r\n"

    together = await ask(edge.port, head + end)
    apart = await ask(edge.port, head, end)
    with_other = await ask(edge.port, note_head(edge, CHUNKED) + chunk(NOTE) + b"0\r\nContent-Type: text/csv\r\n\r\n")

    assert [answer.status for answer in (together, apart, with_other)] == [401, 401, 201]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/hello\r\n\r\n",
        b"GET /v1/hello HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET /v1/hello HTTP/2.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        request("/v1/hello", host=False),
        request("/v1/hello", "Host: other"),
        request("/v1/hello", "Host: a b", host=False),
        request("/v1/hello", "Host: a/b", host=False),
        b"POST /v1/notes HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_1_1_is_refused(edge: EdgeProcess, sent: bytes) -> None:
    async with connected(edge.port) as connection:
        await connection.send(sent)

        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await connection.ended()


async def test_a_header_with_one_value_may_not_come_twice(edge: EdgeProcess) -> None:
    (credential,) = edge.credentials
    for repeated in (credential, "Authorization: Bearer x", "authorization:"):
        answer = await ask(edge.port, request("/v1/notes", *edge.credentials, repeated))
        assert (answer.status, answer.json()["code"]) == (400, "header_repeated")
    keys = ["Idempotency-Key: a", "Idempotency-Key: b"]
    answer = await ask(edge.port, request("/v1/notes", *edge.credentials, JSON, *keys, body=NOTE))
    assert (answer.status, answer.json()["code"]) == (400, "header_repeated")


async def test_http_1_0_without_a_host_is_served(edge: EdgeProcess) -> None:
    answer = await ask(edge.port, b"GET /livez HTTP/1.0\r\n\r\n")

    assert answer.status == 200


async def test_connect_is_refused(edge: EdgeProcess) -> None:
    assert refused(await ask(edge.port, request("a:1", method="CONNECT")), 405, "method_not_allowed")


async def test_blanks_around_a_header_value_are_no_part_of_it(edge: EdgeProcess) -> None:
    answers = [
        await ask(edge.port, request("/v1/notes", *edge.credentials, JSON, f"Idempotency-Key:{key}", body=NOTE))
        for key in (" blank", " blank  ", "\tblank \t", "blank")
    ]

    assert [answer.status for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_requests_in_one_piece_are_answered_in_order(edge: EdgeProcess) -> None:
    async with connected(edge.port) as connection:
        await connection.send(HELLO * 8)
        statuses = [(await connection.answer()).status for _ in range(8)]

    assert statuses == [200] * 8


async def test_requests_that_wait_on_a_connection_are_answered_in_order(edge: EdgeProcess) -> None:
    paths = ["/v1/hello", "/v1/nowhere", *["/v1/hello"] * 20, "/v1/nowhere"]
    async with connected(edge.port) as connection:
        await connection.send(b"".join(request(path) for path in paths))
        statuses = [(await connection.answer()).status for _ in paths]

    assert statuses == [404 if path == "/v1/nowhere" else 200 for path in paths]


async def test_no_more_waits_on_a_connection_than_a_head_may_have(edge: EdgeProcess) -> None:
    async with connected(edge.port) as connection:
        await connection.send(HELLO * (2 * HEAD_BYTES_MAX // len(HELLO)))
        statuses: list[int] = []
        while not statuses or statuses[-1] == 200:
            statuses.append((await connection.answer()).status)

        assert statuses[-1] == 400
        assert len(statuses) < HEAD_BYTES_MAX // len(HELLO)
        assert await connection.ended()
