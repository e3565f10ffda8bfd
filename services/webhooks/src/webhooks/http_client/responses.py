"""Responses of receivers and outcomes of attempts. What is stored of a body is bounded, printable and free of confidential values."""

import re
import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shared.observability import redaction

Cause = Literal["dns", "tls", "connect", "timeout", "blocked", "too_large", "status", "protocol", "secret_unreadable"]
CauseDetail = Literal[
    "certificate_expired",
    "certificate_not_yet_valid",
    "name_mismatch",
    "self_signed",
    "unknown_issuer",
    "certificate_refused",
    "no_tls",
    "no_common_version",
    "handshake_failed",
]
"""Why there was no TLS connection (`cause` is `tls`)."""


class Timings(NamedTuple):
    """Milliseconds of the phases of one attempt; None for a phase that was not needed (open connection, cached name).

    A phase that failed has its time until then, so the last phase with a time is the one in which a deadline passed.
    """

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None
    """From the first byte of the request to the first byte of the response."""
    total_ms: int | None = None


_UNTIMED = Timings()


# Not frozen, because one is made for each attempt: a frozen one takes three times as long.
@dataclass(slots=True)
class Outcome:
    """The outcome of one attempt. `cause` None: the receiver accepted it, with the complete head of a 2xx response in time.

    The body is for people to read, and decides nothing: what is wrong with it is noted at its end.
    """

    started_us: int
    """When the attempt began, in microseconds since 1970."""
    latency_ms: int
    cause: Cause | None
    response_status: int | None = None
    response_body: str | None = None
    retry_after: str | None = None
    timings: Timings = _UNTIMED
    cause_detail: CauseDetail | None = None


BODY_BYTES_MAX = 64 * 1024
BODY_CHARACTERS_KEPT = 4096
RETRY_AFTER_LENGTH_MAX = 100
HIDDEN = "[redacted]"
# A shorter value would hide too much of a harmless body.
_HIDDEN_VALUE_LENGTH_MIN = 4
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_COMPRESSED = (b"gzip", b"x-gzip", b"deflate")
_UNCOMPRESSED = (b"", b"identity")


class Response(NamedTuple):
    """A response with a complete head (`cause` None), or as far as it was received."""

    cause: Cause | None
    status: int | None = None
    retry_after: str | None = None
    coding: bytes = b""
    body: bytes = b""
    untouched: bool = False
    """The connection ended before any byte was received."""
    fault: str | None = None
    """What is wrong with the body, or why it is not all there."""
    cause_detail: CauseDetail | None = None


BODY_FAULTS: dict[Cause, str] = {
    "timeout": "the rest did not come in time",
    "too_large": f"cut: no more than {BODY_BYTES_MAX} bytes are read",
    "protocol": "the rest could not be read",
}


def decompress(response: Response) -> Response:
    """The response with its body decompressed, up to `BODY_BYTES_MAX`. What is not compressed as it says stays as it is, with its fault.

    A body with an unknown coding is left out.
    """
    coding = response.coding.strip().lower()
    if coding in _UNCOMPRESSED or not response.body:
        return response
    if coding not in _COMPRESSED:
        return response._replace(body=b"")
    try:
        body: bytes | None = _decompress(response.body, zlib.MAX_WBITS | 32)
    except zlib.error:
        # Some servers leave out the zlib header of `deflate`.
        try:
            body = _decompress(response.body, -zlib.MAX_WBITS) if coding == b"deflate" else None
        except zlib.error:
            body = None
    if body is None:
        return response._replace(fault=response.fault or f"not in the coding {coding.decode('ascii', 'replace')}")
    if len(body) > BODY_BYTES_MAX:
        return response._replace(body=body[:BODY_BYTES_MAX], fault=BODY_FAULTS["too_large"])
    return response._replace(body=body)


def with_fault(body: str | None, fault: str) -> str:
    """The legible body with a note of what is wrong with it."""
    note = f"[{fault}]"
    return f"{body[: BODY_CHARACTERS_KEPT - len(note) - 1]}\n{note}" if body else note


def legible(body: bytes, confidential: tuple[str, ...]) -> str | None:
    """The beginning of a body as text that PostgreSQL and a browser accept, without the confidential values. None if it is empty."""
    if not body:
        return None
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", body.decode("utf-8", "replace").replace("\r\n", "\n"))
    for value in confidential:
        if len(value) >= _HIDDEN_VALUE_LENGTH_MIN:
            text = text.replace(value, HIDDEN)
    return str(redaction.redact(text[:BODY_CHARACTERS_KEPT]))


def _decompress(body: bytes, wbits: int) -> bytes:
    # Decompresses at most one byte more than the limit, so that a decompression bomb is never expanded.
    return zlib.decompressobj(wbits).decompress(body, BODY_BYTES_MAX + 1)
