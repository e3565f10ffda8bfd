"""Permanent errors, each with its HTTP status.

Repeating a call that raised one of these cannot succeed; only `Unavailable` is different. Any other exception (a lost connection, a
time-out) is transient: a request is answered with 5xx, and a consumer tries again.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One error in a request: its place (a JSON pointer into the body, or the name of a parameter), a code, a sentence."""

    pointer: str
    code: str
    message: str
    parameter: str | None = None

    def as_json(self) -> dict[str, str]:
        place = {"parameter": self.parameter} if self.parameter is not None else {"pointer": self.pointer}
        return {**place, "code": self.code, "message": self.message}


class WaybillError(Exception):
    """Base of all permanent errors. `extra` becomes further members of the problem document (RFC 9457)."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, code: str | None = None, headers: dict[str, str] | None = None, **extra: object):
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.headers = headers or {}
        self.extra = extra


class BadRequest(WaybillError):
    status, code, title = 400, "bad_request", "Bad request"


class Unauthenticated(WaybillError):
    status, code, title = 401, "unauthenticated", "Authentication required"


class PaymentRequired(WaybillError):
    status, code, title = 402, "payment_required", "Payment required"


class Forbidden(WaybillError):
    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(WaybillError):
    status, code, title = 404, "not_found", "Not found"


class RequestTimeout(WaybillError):
    """The request has not arrived in time: its connection is closed."""

    status, code, title = 408, "request_timeout", "Request timeout"


class Conflict(WaybillError):
    status, code, title = 409, "conflict", "Conflict"


class PreconditionFailed(WaybillError):
    status, code, title = 412, "precondition_failed", "Precondition failed"


class PayloadTooLarge(WaybillError):
    status, code, title = 413, "payload_too_large", "Payload too large"


class UnsupportedMediaType(WaybillError):
    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Invalid(WaybillError):
    """The request can be read, but its content is not valid; `violations` lists all errors."""

    status, code, title = 422, "invalid", "Invalid request"

    def __init__(
        self,
        detail: str,
        *violations: Violation,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **extra: object,
    ):
        super().__init__(detail, code=code, headers=headers, **extra)
        self.violations = violations


def invalid(*violations: Violation) -> Invalid:
    """The error for a request in which these violations were found."""
    return Invalid("the request is not valid: see errors", *violations)


class TooManyRequests(WaybillError):
    status, code, title = 429, "rate_limited", "Too many requests"


class Unavailable(WaybillError):
    """Not possible now: the caller may try again after `retry_after_seconds`. A consumer treats it as transient, unlike the others."""

    status, code, title = 503, "unavailable", "Service unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 1, code: str | None = None, **extra: object):
        super().__init__(detail, code=code, headers={"Retry-After": str(retry_after_seconds)}, **extra)
