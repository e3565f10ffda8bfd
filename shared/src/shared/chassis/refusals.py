"""Answers in the place of the application, to what cannot be given to it."""

import json
from http import HTTPStatus

import uuid_utils

from shared.problem_types import title_of, type_of

TOO_MANY_CONNECTIONS = (503, "too_many_connections", "this address has too many connections: close or reuse some")


def answer(status: int, code: str, detail: str) -> bytes:
    """The whole answer, a problem document; it says that the connection is closed."""
    request_id = f"req_{uuid_utils.uuid7().hex}"
    title = HTTPStatus(status).phrase
    content = {"title": title_of(code, title), "status": status, "detail": detail, "instance": request_id, "code": code}
    body = json.dumps({"type": type_of(code), **content}).encode()
    retry = "Retry-After: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\nX-Content-Type-Options: nosniff\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
