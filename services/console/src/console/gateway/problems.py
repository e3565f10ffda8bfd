"""What the services refuse, and why: a problem document (RFC 9457) as an exception, a class for each thing that a page can do."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx


class Problem(Exception):
    """A service did not do what it was asked."""

    def __init__(
        self,
        *,
        service: str,
        status: int,
        code: str,
        title: str = "",
        detail: str = "",
        request_id: str = "",
        retry_after_seconds: int | None = None,
        body: Mapping[str, Any] | None = None,
    ):
        super().__init__(f"{service}: {status} {code}: {detail}")
        self.service = service
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.body = body or {}

    @property
    def errors(self) -> Sequence[Mapping[str, str]]:
        """What is wrong in the body: pointer, code and message of each."""
        found: Sequence[Mapping[str, str]] = self.body.get("errors", ())
        return found


class Unauthorized(Problem):
    """401: the session is over, or a password or code is wrong."""


class PaymentRequired(Problem):
    """402: the tenant has no subscription that includes this."""


class Forbidden(Problem):
    """403: the person may not do this."""


class Missing(Problem):
    """404: there is no such thing, or not for this person."""


class Conflict(Problem):
    """409: what is asked does not fit what is there."""


class Changed(Problem):
    """412, 428: somebody else has changed it meanwhile."""


class Invalid(Problem):
    """400, 413, 415, 422: what was entered is not valid; `errors` says where."""


class TooMany(Problem):
    """429: later, in `retry_after_seconds`."""


class Away(Problem):
    """5xx, no answer in time, or no connection."""

    @property
    def outcome_is_unknown(self) -> bool:
        """Whether what was asked may have been done all the same."""
        return self.code != NOT_SENT and self.status != 503


NOT_SENT = "not_sent"
"""The code of a request that never reached its service."""
NO_ANSWER = "no_answer"
"""The code of a request without an answer in time."""

_KINDS: dict[int, type[Problem]] = {
    400: Invalid,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: Missing,
    409: Conflict,
    412: Changed,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    428: Changed,
    429: TooMany,
}


def of_response(service: str, response: httpx.Response) -> Problem:
    """The problem that a service answered."""
    body: Any = {}
    if "json" in response.headers.get("content-type", ""):
        try:
            body = response.json()
        except ValueError:
            body = {}
    document: Mapping[str, Any] = body if isinstance(body, dict) else {}
    wait = response.headers.get("retry-after", "")
    kind = _KINDS.get(response.status_code, Away if response.status_code >= 500 else Problem)
    return kind(
        service=service,
        status=response.status_code,
        code=str(document.get("code", "")),
        title=str(document.get("title", "")),
        detail=str(document.get("detail", "")),
        request_id=response.headers.get("x-request-id", ""),
        retry_after_seconds=int(wait) if wait.isdecimal() else None,
        body=document,
    )


def of_transport(service: str, error: Exception, request_id: str) -> Away:
    """The problem of a service that did not answer."""
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return Away(
        service=service,
        status=503 if unsent else 504,
        code=NOT_SENT if unsent else NO_ANSWER,
        request_id=request_id,
    )
