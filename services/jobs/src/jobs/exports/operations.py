"""Streams jobs as a file. One page after the other is read, each in its own short transaction, and written; the file is never in memory.

If the file cannot be completed, the connection is broken, so that no client takes a part for the whole file.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from starlette.responses import StreamingResponse

from jobs import file_formats, search
from jobs.exports.schemas import ExportQuery
from jobs.file_formats import Format
from jobs.job_store import Job
from shared import audit
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api import Documents, Transactions
from shared.api.cursors import Cursors
from shared.api.exports import ExportResponse, RunningExports
from shared.audit import Actor
from shared.postgres.database import Database

PAGE_JOBS = 200
"""Jobs of one page: few, because no other task runs while they are parsed."""
YIELD_JOBS = 50
"""Jobs that are written before other tasks of this process run."""
_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


class Exports:
    """The exports of one process, each with one page in memory; `running` bounds how many there are."""

    def __init__(self, database: Database, access: Access, running: RunningExports):
        self._database = database
        self._access = access
        self._running = running

    async def begin(
        self, transactions: Transactions, actor: Actor, requested: ExportQuery, cursors: Cursors
    ) -> StreamingResponse:
        """The jobs of a list as a file, in the order of the list. The audit event is committed before the first job leaves.

        Raises as the list does, `TooManyRequests` if too many exports of this tenant run, and `Unavailable` if too many of all do.
        """
        ended = self._running.begin(actor.caller.tenant_id)
        try:
            # The first page is read before the response begins, so that errors of the request have a status.
            first = await self._page(actor.caller, requested, cursors, None)
            async with transactions.begin() as session:
                # The names of the filters: their values can be personal data.
                after = {"format": requested.format, "filters": sorted(requested.model_fields_set - {"format"})}
                audit.record(session, actor, "jobs.exported", actor.tenant_id, after=after)
        except BaseException:
            ended()
            raise
        return ExportResponse(
            self._content(actor.caller, requested, cursors, first),
            media_type=_MEDIA_TYPES[requested.format],
            file_name=f"jobs-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{requested.format}",
            ended=ended,
        )

    async def _content(
        self, caller: Caller, requested: ExportQuery, cursors: Cursors, page: Documents
    ) -> AsyncIterator[bytes]:
        if requested.format == "csv":
            yield file_formats.format_heading().encode()
        while True:
            for offset in range(0, len(page.data), YIELD_JOBS):
                yield _format(page.data[offset : offset + YIELD_JOBS], requested.format)
                await asyncio.sleep(0)
            if page.next_cursor is None:
                return
            page = await self._page(caller, requested, cursors, page.next_cursor)

    async def _page(self, caller: Caller, requested: ExportQuery, cursors: Cursors, cursor: str | None) -> Documents:
        async with self._database.searching() as session:
            # An export can take long, and the caller can lose access meanwhile.
            current = await self._access.recheck(session, caller)
            return await search.list_jobs(session, current, requested, cursors.paging(PAGE_JOBS, cursor))


def _format(jobs: list[dict[str, Any]], file_format: Format) -> bytes:
    if file_format == "csv":
        return file_formats.format_rows([Job.model_validate(job) for job in jobs]).encode()
    return b"".join(to_json(job) + b"\n" for job in jobs)
