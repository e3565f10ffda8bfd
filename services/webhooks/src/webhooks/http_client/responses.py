"""What comes back from a receiver, and what is kept of it: bounded, printable, without the endpoint's custom headers."""

import re
import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shared.observability import redaction

Cause = Literal["dns", "tls", "connect", "timeout", "blocked", "too_large", "status", "protocol", "secret_unreadable"]


class Timings(NamedTuple):
    """Milliseconds that the phases of one attempt took; None where there was no such phase (kept connection, known name).

    A phase that failed has its time until then, so the last one that is there tells where a deadline passed.
    """

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None
    """From the request's first byte out to the answer's first byte in."""
    total_ms: int | None = None


_UNTIMED = Timings()


# Made for each attempt: a frozen one takes three times as long to make.
@dataclass(slots=True)
class Outcome:
    """What one attempt met. `cause` None: the receiver accepted (2xx, complete answer, in time)."""

    started_us: int
    """When it began: microseconds since 1970."""
    latency_ms: int
    cause: Cause | None
    response_status: int | None = None
    response_body: str | None = None
    retry_after: str | None = None
    timings: Timings = _UNTIMED


BODY_BYTES_MAX = 64 * 1024
BODY_CHARACTERS_KEPT = 4096
RETRY_AFTER_LENGTH_MAX = 100
HIDDEN = "[redacted]"
# A shorter one would hide half of an innocent answer.
_HIDDEN_VALUE_LENGTH_MIN = 4
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_COMPRESSED = (b"gzip", b"x-gzip", b"deflate")
_AS_IT_IS = (b"", b"identity")


class Response(NamedTuple):
    """An answer, whole (`cause` None) or as far as it came."""

    cause: Cause | None
    status: int | None = None
    retry_after: str | None = None
    coding: bytes = b""
    body: bytes = b""
    untouched: bool = False
    """Not a byte came before the connection ended."""


def decompress(answer: Response) -> Response:
    """A whole answer as it was before compression; with a cause when it expands beyond `BODY_BYTES_MAX` or is not what it says.

    Unknown codings are not read: such a body is left out.
    """
    coding = answer.coding.strip().lower()
    if coding in _AS_IT_IS or not answer.body:
        return answer
    if coding not in _COMPRESSED:
        return answer._replace(body=b"")
    try:
        body = _decompress(answer.body, zlib.MAX_WBITS | 32)
    except zlib.error:
        if coding != b"deflate":
            return answer._replace(cause="protocol", body=b"")
        try:
            # Some leave out the wrapping that this coding should have.
            body = _decompress(answer.body, -zlib.MAX_WBITS)
        except zlib.error:
            return answer._replace(cause="protocol", body=b"")
    if len(body) > BODY_BYTES_MAX:
        return answer._replace(cause="too_large", body=b"")
    return answer._replace(body=body)


def legible(body: bytes, confidential: tuple[str, ...]) -> str | None:
    """What is kept of a body: its beginning, as text that PostgreSQL and a browser can hold, without the values named."""
    if not body:
        return None
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", body.decode("utf-8", "replace").replace("\r\n", "\n"))
    for value in confidential:
        if len(value) >= _HIDDEN_VALUE_LENGTH_MIN:
            text = text.replace(value, HIDDEN)
    return str(redaction.redact(text[:BODY_CHARACTERS_KEPT]))


def _decompress(body: bytes, wbits: int) -> bytes:
    # One byte beyond the limit is asked for, and never more: a bomb is not inflated to find out that it is one.
    return zlib.decompressobj(wbits).decompress(body, BODY_BYTES_MAX + 1)
