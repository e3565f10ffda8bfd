"""File intake: stores the file of an import piece by piece, never whole in memory.

Until the file is complete, the import is neither shown nor handled; it is deleted if the client disconnects.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from jobs import file_formats, reference_data
from jobs.file_formats import (
    BOM,
    FORMATS,
    RECORD_BYTES_MAX,
    SEPARATORS,
    CsvReader,
    Format,
    Record,
    RecordReader,
    Separator,
)
from jobs.imports import operations, queries
from jobs.imports.schemas import ROWS_MAX, Import, ImportQuery
from jobs.imports.tables import PIECE_BYTES, ImportRow, PieceRow
from shared import audit
from shared.access.principals import Caller
from shared.api import Transactions, Upload
from shared.audit import Actor
from shared.errors import BadRequest, Invalid, TooManyRequests, Violation, invalid
from shared.ids import new_id
from shared.postgres.advisory_locks import KeyedAdvisoryLock, lock_keys
from shared.postgres.database import Database

UPLOADING_MAX = 10
"""Files of one tenant that are being received at the same time."""
WAITING_MAX = 20
"""Imports of one tenant that have not ended yet."""
LINES_MAX = 10 * ROWS_MAX
"""Lines of one file, blank ones included."""
YIELD_BYTES = 8 * 1024
"""Bytes that are read before other tasks of this process run."""
CONVERTED_BYTES = 64 * 1024
"""Bytes that are converted to UTF-8 before other tasks of this process run."""
_SEPARATOR_LINE = re.compile(rb'"?sep=([,;\t])"?\r?\n', re.IGNORECASE)
RETRY_AFTER_SECONDS = 30
ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class FirstRow:
    """The position of the first row, and the columns of a CSV file."""

    position: int
    line: int
    columns: Sequence[str] = ()
    separator: Separator | None = None


async def receive(
    database: Database, transactions: Transactions, actor: Actor, requested: ImportQuery, upload: Upload
) -> Response:
    """Store a file, so that the worker creates its jobs. The response shows the import.

    Raises `Invalid` (merchant, columns or number of lines), `TooManyRequests` (too many imports are waiting), `PayloadTooLarge`, or
    `BadRequest` (the file is empty or incomplete).
    """
    named_charset = file_formats.require_charset(upload.charset)
    row = await _create_import(transactions, actor.caller, requested, upload)
    try:
        first_row: FirstRow | None = None
        bytes_total = lines = 0
        pieces = upload.pieces(PIECE_BYTES)
        beginning = await anext(pieces, b"")
        if not beginning:
            raise BadRequest("the file is empty", code="body_missing")
        charset = file_formats.charset_of(beginning, named_charset)
        async for piece in _utf8_pieces(beginning, pieces, charset):
            if first_row is None:
                first_row = await find_first_row(piece, FORMATS[upload.media_type])
            await _store_piece(database, row.id, bytes_total // PIECE_BYTES, piece)
            bytes_total += len(piece)
            lines += piece.count(b"\n")
            if lines > LINES_MAX:
                raise Invalid(f"a file can have at most {LINES_MAX:,} lines: split it", code="too_many_lines")
        if first_row is None:
            raise BadRequest("the file is empty", code="body_missing")
        row.charset = charset
        queue = partial(_enqueue, actor=actor, received=row, first_row=first_row, bytes_total=bytes_total)
        return await upload.accept(queue, ACCEPTED)
    finally:
        # Deletes the file unless it was accepted. If this fails, the sweep of the worker deletes it.
        with suppress(Exception):
            await _discard(database, row.id)


async def _create_import(
    transactions: Transactions, caller: Caller, requested: ImportQuery, upload: Upload
) -> ImportRow:
    async with transactions.begin() as session:
        await require_merchant(session, caller, requested.merchant_id)
        await _require_quota(session, caller.tenant_id, UPLOADING_MAX, "uploading")
        if not upload.keyed:
            # With an Idempotency-Key this can be a repetition, which must get the first response; that is known when the file is complete.
            await _require_quota(session, caller.tenant_id, WAITING_MAX, "queued", "running")
        row = new_import(caller, requested.merchant_id, FORMATS[upload.media_type], dry_run=requested.dry_run)
        session.add(row)
    return row


def new_import(caller: Caller, merchant_id: str | None, file_format: Format, *, dry_run: bool) -> ImportRow:
    """An import whose file is not read yet, for this caller."""
    now = datetime.now(UTC)
    principal = caller.principal
    return ImportRow(
        id=new_id("imp"),
        tenant_id=caller.tenant_id,
        merchant_id=caller.subject_id if caller.kind == "merchant" else None,
        for_merchant_id=merchant_id,
        livemode=caller.livemode,
        status="uploading",
        format=file_format,
        dry_run=dry_run,
        via=caller.via,
        created_by=caller.actor,
        subject_id=principal.subject_id,
        credential_id=principal.credential_id,
        credential_digest=principal.digests[0][0] if principal.digests else None,
        columns=[],
        bytes_total=0,
        bytes_done=0,
        next_line=1,
        rows_done=0,
        jobs_created=0,
        rows_failed=0,
        refused_bytes=0,
        created_at=now,
        touched_at=now,
    )


async def require_merchant(session: AsyncSession, caller: Caller, merchant_id: str | None) -> None:
    """Raises `Invalid` unless the caller may import jobs of this merchant."""
    if merchant_id is None:
        return
    if caller.kind == "merchant":
        if merchant_id != caller.subject_id:
            raise _wrong_merchant("merchant_not_yours", "a merchant imports only its own jobs: omit this")
    elif (caller.tenant_id, merchant_id) not in await reference_data.get_merchants(session, {merchant_id}):
        raise _wrong_merchant("merchant_unknown", "no merchant of this tenant has this id")


def _wrong_merchant(code: str, message: str) -> Invalid:
    return invalid(Violation("", code, message, parameter="merchant_id"))


async def _require_quota(session: AsyncSession, tenant_id: str, imports_max: int, *statuses: str) -> None:
    await lock_keys(session, KeyedAdvisoryLock.JOBS_IMPORT_LIMIT, [tenant_id])
    counted = select(func.count()).where(
        col(ImportRow.tenant_id) == tenant_id, col(ImportRow.finished_at).is_(None), col(ImportRow.status).in_(statuses)
    )
    if (await session.execute(counted)).scalar_one() >= imports_max:
        detail = f"{imports_max} imports are {' or '.join(statuses)}: wait for one of them, or cancel it"
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise TooManyRequests(detail, code="imports_waiting", headers=headers, retry_after_seconds=RETRY_AFTER_SECONDS)


async def _utf8_pieces(first: bytes, rest: AsyncIterator[bytes], charset: str) -> AsyncIterator[bytes]:
    """The pieces of a file in UTF-8, all but the last of one size."""
    convert = file_formats.to_utf8(charset)
    if convert is None:
        yield first
        async for piece in rest:
            yield piece
        return
    waiting = bytearray()
    arrived = first
    while arrived:
        for offset in range(0, len(arrived), CONVERTED_BYTES):
            waiting += convert(arrived[offset : offset + CONVERTED_BYTES], False)
            await asyncio.sleep(0)
        while len(waiting) >= PIECE_BYTES:
            yield bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
        arrived = await anext(rest, b"")
    waiting += convert(b"", True)
    if waiting:
        yield bytes(waiting)


async def find_first_row(piece: bytes, file_format: Format) -> FirstRow:
    """Find the first row in the first piece of a file. Raises `Invalid` unless a CSV file begins with a row that names columns.

    The separator is the one that `sep=` before that row names, or else the one by which it names most columns.
    """
    position, line = len(BOM) if piece.startswith(BOM) else 0, 1
    if file_format == "ndjson":
        return FirstRow(position, line)
    candidates: Sequence[Separator] = SEPARATORS
    announced = _SEPARATOR_LINE.match(piece, position)
    if announced is not None:
        candidates = [one for one in SEPARATORS if one.encode() == announced[1]]
        position, line = announced.end(), 2
    found: list[tuple[int, Record, Separator]] = []
    for separator in candidates:
        reader = CsvReader(separator=separator, position=position, line=line)
        heading = await _first_record(reader, piece[position : position + RECORD_BYTES_MAX])
        if heading is not None and heading.fault is None:
            found.append((file_formats.count_columns(heading.cells), heading, separator))
    if not found:
        raise Invalid("the first row must name the columns, in UTF-8", code="columns_unreadable")
    _, heading, separator = max(found, key=lambda one: one[0])
    return FirstRow(heading.end, heading.next_line, file_formats.parse_heading(heading.cells), separator)


async def _first_record(reader: RecordReader, content: bytes) -> Record | None:
    for offset in range(0, len(content), YIELD_BYTES):
        for records in reader.feed(content[offset : offset + YIELD_BYTES]):
            if records:
                return records[0]
            await asyncio.sleep(0)
    for records in reader.finish():
        if records:
            return records[0]
        await asyncio.sleep(0)
    return None


async def _store_piece(database: Database, import_id: str, number: int, piece: bytes) -> None:
    async with database.transaction() as session:
        await session.execute(insert(PieceRow).values(import_id=import_id, number=number, content=piece))
        uploading = update(ImportRow).where(col(ImportRow.id) == import_id)
        await session.execute(uploading.values(touched_at=func.now()))


async def _enqueue(
    session: AsyncSession, *, actor: Actor, received: ImportRow, first_row: FirstRow, bytes_total: int
) -> Import:
    """Queue an import whose file is complete."""
    uploading = select(ImportRow).where(col(ImportRow.id) == received.id).with_for_update()
    row = (await session.execute(uploading)).scalar_one()
    await _require_quota(session, row.tenant_id, WAITING_MAX, "queued", "running")
    row.columns, row.separator, row.charset = list(first_row.columns), first_row.separator, received.charset
    row.bytes_done, row.next_line = first_row.position, first_row.line
    row.bytes_total = bytes_total
    await operations.queue(session, row)
    shown = queries.view(row)
    audit.record(session, actor, "import.created", row.id, after=shown)
    return shown


async def _discard(database: Database, import_id: str) -> None:
    async with database.transaction() as session:
        uploading = col(ImportRow.status) == "uploading"
        await session.execute(delete(ImportRow).where(col(ImportRow.id) == import_id, uploading))
