"""Answers that are streams: how many run at once, and what is done at their end.

A stream is read piece by piece, each in its own short transaction, so that a slow reader holds nothing but a place. The server's protocol
closes connections on which nobody reads.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import TooManyRequests, Unavailable

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5


class RunningExports:
    """The exports (or event streams) of one process: at most `at_once_max` at the same time, `per_tenant_max` of one tenant."""

    def __init__(self, *, at_once_max: int, per_tenant_max: int, streams: bool = False):
        self._what = "streams" if streams else "exports"
        self._at_once_max = at_once_max
        self._per_tenant_max = per_tenant_max
        self._running: Counter[str] = Counter()
        """By tenant id."""

    def begin(self, tenant_id: str) -> Callable[[], None]:
        """Take a place, and return what gives it back.

        Raises `TooManyRequests` if too many exports of this tenant run, and `Unavailable` if too many of all do.
        """
        if self._running[tenant_id] >= self._per_tenant_max:
            detail = f"{self._per_tenant_max} {self._what} of this tenant are running: read one of them to its end, or close it"
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise TooManyRequests(
                detail, code=f"{self._what}_running", headers=headers, retry_after_seconds=RETRY_AFTER_SECONDS
            )
        if self._running.total() >= self._at_once_max:
            detail = f"too many {self._what} are running"
            raise Unavailable(detail, code=f"{self._what}_busy", retry_after_seconds=RETRY_AFTER_SECONDS)
        self._running[tenant_id] += 1
        return partial(self._end, tenant_id)

    def _end(self, tenant_id: str) -> None:
        self._running[tenant_id] -= 1
        if not self._running[tenant_id]:
            del self._running[tenant_id]


class ExportResponse(StreamingResponse):
    """A response with a file that calls `ended` at its end, sent completely or not."""

    def __init__(
        self, content: AsyncIterator[bytes], *, media_type: str, file_name: str, ended: Callable[[], None]
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "no-store"}
        super().__init__(content, headers=headers, media_type=media_type)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            log.info("export_abandoned")
        finally:
            self._ended()
