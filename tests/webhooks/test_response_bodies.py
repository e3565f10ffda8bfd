"""The head of a response decides, whatever its body is: what is wrong with the body is noted."""

import pytest

from tests.harness.http_harness import attempt
from tests.harness.servers import saying, speaking
from webhooks.http_client.responses import BODY_BYTES_MAX

pytestmark = pytest.mark.production_loop

UNREAD = "[the rest could not be read]"
CUT = f"[cut: no more than {BODY_BYTES_MAX} bytes are read]"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok"),
        (b"HTTP/1.1 204 No Content\n\n", None),
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\td\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 202 Accepted\nX-A: b\n c\nContent-Length: 2\n\nok", "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UNREAD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", UNREAD),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort", f"short\n{UNREAD}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n", UNREAD),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", f"short\n{UNREAD}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nsurplus", None),
    ],
)
async def test_a_complete_head_is_a_success_whatever_follows(said: bytes, kept: str | None) -> None:
    async with speaking(saying(said)) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_body) == (None, kept)


async def test_a_body_that_fails_hides_no_other_status() -> None:
    said = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with speaking(saying(said)) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status, outcome.retry_after) == ("status", 503, "7")
    assert outcome.response_body is not None
    assert outcome.response_body.endswith(CUT)
