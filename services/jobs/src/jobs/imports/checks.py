"""Check the beginning of a file before it is imported: what its first rows would be, at once, and without a trace."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from jobs import file_formats, jobs
from jobs.file_formats import FORMATS, CsvReader, LineReader, Record, RecordReader
from jobs.imports.batch_writer import FileRow, parse_row, violations_of
from jobs.imports.file_intake import YIELD_BYTES, find_first_row, new_import, require_merchant
from jobs.imports.schemas import CHECK_BYTES_MAX, CHECK_ROWS_MAX, CheckedRow, ImportCheck, ImportCheckQuery
from jobs.imports.tables import ImportRow
from shared.access.principals import Caller
from shared.api import Upload
from shared.api.group_commit import Written
from shared.errors import BadRequest, Invalid, WaybillError

CHECKED = 200


class _Undo(Exception):
    """Rolls back the jobs of a check."""


async def check(caller: Caller, requested: ImportCheckQuery, upload: Upload) -> Response:
    """The first rows of a file, each with what would refuse it; no job is created.

    Raises `Invalid` (merchant, columns), `PayloadTooLarge` or `BadRequest` (the file is empty or incomplete).
    """
    named_charset = file_formats.require_charset(upload.charset)
    content = b"".join([piece async for piece in upload.pieces(CHECK_BYTES_MAX)])
    if not content:
        raise BadRequest("the file is empty", code="body_missing")
    row = new_import(caller, requested.merchant_id, FORMATS[upload.media_type], dry_run=True)
    row.charset = file_formats.charset_of(content, named_charset)
    convert = file_formats.to_utf8(row.charset)
    if convert is not None:
        # The end of the beginning of a file can be in the middle of a character.
        content = convert(content, not requested.partial)
    first_row = await find_first_row(content, FORMATS[upload.media_type])
    row.columns, row.separator = list(first_row.columns), first_row.separator
    records = await _records(row, content, first_row.position, first_row.line, cut_off=requested.partial)

    async def work(session: AsyncSession) -> ImportCheck:
        await require_merchant(session, caller, requested.merchant_id)
        return await _check(session, caller, row, records)

    return await upload.accept(work, CHECKED)


async def _records(row: ImportRow, content: bytes, position: int, line: int, *, cut_off: bool) -> list[Record]:
    """The first records, without the last one where it may be cut off."""
    reader: RecordReader = LineReader(position=position, line=line)
    if row.format == "csv":
        reader = CsvReader(separator=row.separator or ",", position=position, line=line)
    found: list[Record] = []
    for offset in range(position, len(content), YIELD_BYTES):
        for records in reader.feed(content[offset : offset + YIELD_BYTES]):
            found += records
            await asyncio.sleep(0)
        if len(found) >= CHECK_ROWS_MAX:
            return found[:CHECK_ROWS_MAX]
    if not cut_off:
        for records in reader.finish():
            found += records
    return found[:CHECK_ROWS_MAX]


async def _check(session: AsyncSession, caller: Caller, row: ImportRow, records: Sequence[Record]) -> ImportCheck:
    rows = [parse_row(row, record) for record in records]
    results: list[Written | WaybillError] = []
    try:
        async with session.begin_nested():
            results = await jobs.create_valid(session, caller, [one.requested for one in rows])
            raise _Undo
    except _Undo:
        pass
    checked = [_checked(one, result) for one, result in zip(rows, results, strict=True)]
    refused = sum(one.code is not None for one in checked)
    return ImportCheck(
        format=row.format,
        separator=row.separator,
        charset=row.charset or file_formats.UTF_8,
        columns=row.columns,
        rows_valid=len(checked) - refused,
        rows_failed=refused,
        rows=checked,
    )


def _checked(row: FileRow, result: Written | WaybillError) -> CheckedRow:
    refusal = result if isinstance(result, WaybillError) else None
    return CheckedRow(
        line=row.record.line,
        cells=list(row.record.cells) or [row.record.text.strip()],
        reference_id=row.reference_id,
        code=refusal.problem_code if refusal else None,
        detail=refusal.detail if refusal else None,
        errors=violations_of(refusal) if isinstance(refusal, Invalid) else [],
    )
