"""Batch writer: writes the jobs and errors of a batch of rows, together with the position reached.

Each row results in a job or an error, exactly once: the next turn continues after the last row that was written.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import file_formats, jobs
from jobs.file_formats import RECORD_BYTES_MAX, Fault, Record
from jobs.imports import operations
from jobs.imports.operations import Lease
from jobs.imports.schemas import ERRORS_KEPT_MAX
from jobs.imports.tables import PIECE_BYTES, ImportErrorRow, ImportReferenceRow, ImportRow
from jobs.job_store import Job, JobIn
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api.group_commit import Written
from shared.api.problems import VIOLATIONS_MAX
from shared.api.request_body import parse
from shared.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    PaymentRequired,
    Unauthenticated,
    Unavailable,
    WaybillError,
)
from shared.fields.text import REFERENCE_CHARS_MAX
from shared.messaging import outbox

DETAIL_CHARS_MAX = 1_000
"""Stored length of the detail of an error."""
REFUSED_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of the refused rows of one import that are stored."""
UNAVAILABLE_TURNS_MAX = 8
"""Turns in a row that `Unavailable` may end, while events of identity are delayed; then the row is an error."""
_FAULTS: dict[Fault, str] = {
    "encoding": "the row is not UTF-8, or not in the charset that the request named: name it, as in text/csv; charset=windows-1252",
    "too_long": f"a row can have at most {RECORD_BYTES_MAX} bytes; probably a quote is not closed",
    "csv_malformed": "the row is not valid CSV: a quote is missing or misplaced",
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of the file, and its job or the refusal."""

    record: Record
    requested: JobIn | WaybillError
    reference_id: str | None = None


class _UndoDryRun(Exception):
    """Rolls back the jobs of a dry run."""


def parse_row(row: ImportRow, record: Record) -> FileRow:
    """Parse and check a record of an import's file."""
    try:
        requested = _parse_job(row, record)
    except (BadRequest, Invalid) as refusal:
        return FileRow(record, refusal, _reference_in(row, record))
    return FileRow(record, requested, requested.reference_id)


async def write_batch(session: AsyncSession, access: Access, lease: Lease, rows: Sequence[FileRow]) -> bool:
    """Create the jobs of these rows for the caller that requested the import. False: that caller has lost access, and the import failed.

    Raises `LeaseLost`, or `Unavailable` if the rows must be retried later.
    """
    row = await operations.lock_for_update(session, lease)
    try:
        caller = await access.recheck(session, lease.caller())
    except (Unauthenticated, Forbidden, PaymentRequired) as refusal:
        await operations.end_import(session, row, "failed", refusal)
        return False
    results = await _create(session, caller, lease, rows)
    errors = [(one, result) for one, result in zip(rows, results, strict=True) if isinstance(result, WaybillError)]
    await _keep_errors(session, row, errors)
    if not row.dry_run:
        row.jobs_created += len(rows) - len(errors)
    row.rows_failed += len(errors)
    row.rows_done += len(rows)
    await _advance(session, row, rows[-1].record)
    return True


async def finish_import(session: AsyncSession, lease: Lease) -> None:
    """End an import whose rows are all handled. Raises `LeaseLost`."""
    row = await operations.lock_for_update(session, lease)
    row.bytes_done = row.bytes_total
    await operations.end_import(session, row, "succeeded")


def _parse_job(row: ImportRow, record: Record) -> JobIn:
    if record.fault is not None:
        raise Invalid(_FAULTS[record.fault], code=record.fault)
    names_merchant = row.merchant_id is None
    if row.format == "csv":
        columns = file_formats.CsvColumns(tuple(row.columns), decimal_comma=row.separator == ";")
        requested = columns.parse_job(record.cells, names_merchant=names_merchant)
    else:
        requested = file_formats.parse_job(parse(record.text.encode(), by_parts=True), names_merchant=names_merchant)
    if requested.merchant_id is None:
        requested.merchant_id = row.for_merchant_id
    return requested


def _reference_in(row: ImportRow, record: Record) -> str | None:
    """The reference of a refused row, if it can be read."""
    if record.cells:
        document: object = dict(zip(row.columns, record.cells, strict=False))
    else:
        try:
            document = parse(record.text.encode())
        except (BadRequest, Invalid):
            return None
    found = document.get("reference_id") if isinstance(document, dict) else None
    if not isinstance(found, str):
        return None
    return (file_formats.unprotected(found) if record.cells else found)[:REFERENCE_CHARS_MAX] or None


async def _create(
    session: AsyncSession, caller: Caller, lease: Lease, rows: Sequence[FileRow]
) -> list[Written | WaybillError]:
    try:
        async with session.begin_nested():
            results = await jobs.create_valid(session, caller, [row.requested for row in rows])
            if lease.row.dry_run:
                raise _UndoDryRun
    except _UndoDryRun:
        # Of a dry run only the references of its rows are stored, to refuse later rows that repeat them.
        results = await _refuse_repeated_references(session, lease, results)
    for result in results:
        if isinstance(result, Unavailable) and lease.task.attempt <= UNAVAILABLE_TURNS_MAX:
            raise result
        if isinstance(result, Written) and not lease.row.dry_run:
            for event in result.events:
                outbox.publish(session, event)
    return results


async def _refuse_repeated_references(
    session: AsyncSession, lease: Lease, results: Sequence[Written | WaybillError]
) -> list[Written | WaybillError]:
    """The results of a dry run, with a refusal for each reference that an earlier row has used."""
    references = {
        index: (one.answer.merchant_id, one.answer.reference_id)
        for index, one in enumerate(results)
        if isinstance(one, Written) and isinstance(one.answer, Job) and one.answer.reference_id is not None
    }
    if not references:
        return list(results)
    rows = [
        {"import_id": lease.id, "merchant_id": merchant_id, "reference_id": reference_id}
        for merchant_id, reference_id in references.values()
    ]
    columns = (col(ImportReferenceRow.merchant_id), col(ImportReferenceRow.reference_id))
    inserted = await session.execute(
        insert(ImportReferenceRow).values(rows).on_conflict_do_nothing().returning(*columns)
    )
    new = {(row.merchant_id, row.reference_id) for row in inserted}
    return [
        Conflict("an earlier row of this file has the same reference_id", code="reference_id_taken")
        if index in references and references[index] not in new
        else one
        for index, one in enumerate(results)
    ]


async def _keep_errors(session: AsyncSession, row: ImportRow, errors: Sequence[tuple[FileRow, WaybillError]]) -> None:
    room = max(0, ERRORS_KEPT_MAX - row.rows_failed)
    kept = [
        {
            "import_id": row.id,
            "line": one.record.line,
            "reference_id": one.reference_id,
            "status": error.status,
            "code": error.problem_code,
            "detail": error.detail[:DETAIL_CHARS_MAX],
            "errors": violations_of(error),
            "content": _content_to_keep(row, one.record),
        }
        for one, error in errors[:room]
    ]
    if kept:
        await session.execute(insert(ImportErrorRow), kept)


def violations_of(error: WaybillError) -> list[dict[str, str]]:
    return [one.as_json() for one in error.violations[:VIOLATIONS_MAX]] if isinstance(error, Invalid) else []


def _content_to_keep(row: ImportRow, record: Record) -> str | None:
    """What the file has in this row, while there is room for it: the cells as JSON, or the line."""
    if record.fault is not None:
        return None
    content = json.dumps(record.cells, ensure_ascii=False) if record.cells else record.text.strip()
    size = len(content.encode())
    # PostgreSQL stores every character but this one.
    if row.refused_bytes + size > REFUSED_BYTES_MAX or "\0" in content:
        return None
    row.refused_bytes += size
    return content


async def _advance(session: AsyncSession, row: ImportRow, last: Record) -> None:
    done_before = row.bytes_done // PIECE_BYTES
    row.bytes_done, row.next_line = last.end, last.next_line
    if row.bytes_done // PIECE_BYTES > done_before:
        await operations.drop_pieces(session, row.id, before=row.bytes_done // PIECE_BYTES)
