"""The refused rows of an import as a file: what was sent, with the reasons beside it, to be corrected and imported again.

It is read and sent page by page, as exports are, and takes one of their places.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import select
from sqlmodel import col
from starlette.responses import StreamingResponse

from jobs import file_formats
from jobs.imports.queries import get_row, visible_to
from jobs.imports.tables import ImportErrorRow, ImportRow
from shared import audit
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api import Transactions
from shared.api.exports import ExportResponse, RunningExports
from shared.audit import Actor
from shared.postgres.database import Database

PAGE_ROWS = 100
_COLUMNS_OF_NDJSON = ("refused.content",)


class RefusedRows:
    """Files of refused rows, which share the places of `running` with exports."""

    def __init__(self, database: Database, access: Access, running: RunningExports):
        self._database = database
        self._access = access
        self._running = running

    async def begin(self, transactions: Transactions, actor: Actor, import_id: str) -> StreamingResponse:
        """The file. The audit event is committed before the first row leaves.

        Raises `NotFound`, `TooManyRequests` if too many exports of this tenant run, and `Unavailable` if too many of all do.
        """
        ended = self._running.begin(actor.caller.tenant_id)
        try:
            async with transactions.begin() as session:
                row = await get_row(session, visible_to(actor.caller), import_id)
                audit.record(session, actor, "import.refused_rows_exported", row.id, after={"format": "csv"})
        except BaseException:
            ended()
            raise
        return ExportResponse(
            self._content(actor.caller, row),
            media_type="text/csv; charset=utf-8",
            file_name=f"refused-rows-{import_id}.csv",
            ended=ended,
        )

    async def _content(self, caller: Caller, row: ImportRow) -> AsyncIterator[bytes]:
        columns = row.columns if row.format == "csv" else _COLUMNS_OF_NDJSON
        yield file_formats.format_refused_heading(columns).encode()
        line = 0
        while rows := await self._page(caller, row.id, line):
            yield file_formats.format_refused_rows(
                columns, [(_cells(row, one), _reasons(one)) for one in rows]
            ).encode()
            line = rows[-1].line
            await asyncio.sleep(0)

    async def _page(self, caller: Caller, import_id: str, after_line: int) -> Sequence[ImportErrorRow]:
        wanted = select(ImportErrorRow).where(
            col(ImportErrorRow.import_id) == import_id, col(ImportErrorRow.line) > after_line
        )
        async with self._database.reading() as session:
            # The caller can lose access meanwhile.
            await self._access.recheck(session, caller)
            return (await session.execute(wanted.order_by(col(ImportErrorRow.line)).limit(PAGE_ROWS))).scalars().all()


def _cells(row: ImportRow, error: ImportErrorRow) -> Sequence[str]:
    """The cells of a refused row; none where they could not be read, or are not kept any more."""
    if error.content is None:
        return ()
    return tuple(json.loads(error.content)) if row.format == "csv" else (error.content,)


def _reasons(error: ImportErrorRow) -> tuple[int, str, str]:
    """Line, code and reason in words."""
    places = "; ".join(
        f"{one.get('pointer', '').strip('/').replace('/', '.')}: {one['message']}".removeprefix(": ")
        for one in error.errors
    )
    return error.line, error.code, places or error.detail
