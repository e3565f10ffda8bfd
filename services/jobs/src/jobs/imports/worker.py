"""The worker of imports: handles one import after the other, each for a short turn, and creates its jobs batch by batch.

The task of an import is attempted turn by turn. A worker keeps no state between turns: each turn reads the file from the position after
the last batch that was written.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import imports
from jobs.file_formats import CsvReader, LineReader, Record, RecordReader
from jobs.imports import batch_writer
from jobs.imports.batch_writer import FileRow
from jobs.imports.operations import Lease
from jobs.imports.schemas import ROWS_MAX
from jobs.imports.tables import PIECE_BYTES, PieceRow
from shared.access.authentication import Access
from shared.errors import Invalid, WaybillError
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.transient_errors import is_transient
from shared.tasks import LeaseLost, Task, TaskKind

log = structlog.get_logger(__name__)

TURN_SECONDS = 2.0
"""Length of a turn: an import waits at most this long for each import before it."""
BATCH_ROWS = 100
BATCH_BYTES = 1024 * 1024
"""Rows and bytes of the file in one transaction."""
YIELD_ROWS = 20
YIELD_BYTES = 8 * 1024
"""Rows and bytes that are read before other tasks of this process run: a few milliseconds' work, whatever the bytes are."""
TURN_SECONDS_MAX = 600.0
"""Bound of a turn, which reads a file whole when it counts its rows."""
FAILURES_MAX = 500
"""Failed turns in a row after which an import fails: with the delays between turns, some hours in which the cause can be repaired."""
SWEEP_SECONDS = 60.0
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0


class ImportWorker:
    """The worker of one process."""

    def __init__(self, database: Database, access: Access, metrics: Metrics):
        self._database = database
        self._access = access
        self._rows = metrics.counter("waybill_jobs_import_rows_total", "Rows of imports that were handled.")

    def task_kind(self) -> TaskKind:
        """How the tasks of imports are worked on: one at a time in each process."""
        return TaskKind(
            imports.IMPORT,
            attempt=self._turn,
            give_up=_give_up,
            at_once=1,
            attempt_seconds=TURN_SECONDS_MAX,
            attempts_max=FAILURES_MAX,
            delay_seconds_min=DELAY_SECONDS_MIN,
            delay_seconds_max=DELAY_SECONDS_MAX,
        )

    async def sweep(self) -> None:
        """Delete abandoned files and old imports."""
        async with self._database.transaction() as session:
            await imports.delete_stale(session)

    async def _turn(self, task: Task) -> timedelta | None:
        """Handle the import of a task for a while; returns when its next turn is due, None after the last."""
        async with self._database.transaction() as session:
            lease = await imports.begin_turn(session, task)
        if lease is None:
            return None
        until, written = time.monotonic() + TURN_SECONDS, 0
        try:
            if lease.row.rows_total is None and not await self._count(lease):
                return None
            async for batch in self._batches(lease):
                if not await self._write(lease, batch):
                    return None
                written += len(batch)
                self._rows.inc(len(batch))
                if time.monotonic() > until:
                    return timedelta()
        except LeaseLost:
            raise
        except Exception as error:
            # Only a turn that has written nothing has failed: the next one begins with the batch that failed in this one.
            if not written:
                raise
            log.warning("import_turn_cut_short", import_id=lease.id, error=repr(error))
            return timedelta()
        async with self._database.transaction() as session:
            await batch_writer.finish_import(session, lease)
        log.info("import_done", import_id=lease.id)
        return None

    async def _count(self, lease: Lease) -> bool:
        """Count the rows of the file, before any job is created. Returns False, and fails the import, if there are too many."""
        rows_total = 0
        async for records in self._records(lease):
            rows_total += len(records)
            if rows_total > ROWS_MAX:
                refusal = Invalid(f"a file can have at most {ROWS_MAX:,} rows: split it", code="too_many_rows")
                await self._fail(lease, refusal)
                return False
        async with self._database.transaction() as session:
            (await imports.lock_for_update(session, lease)).rows_total = rows_total
        return True

    async def _fail(self, lease: Lease, reason: WaybillError) -> None:
        async with self._database.transaction() as session:
            await imports.end_import(session, await imports.lock_for_update(session, lease), "failed", reason)

    async def _batches(self, lease: Lease) -> AsyncIterator[list[FileRow]]:
        batch: list[FileRow] = []
        batch_begin = yielded_at = lease.row.bytes_done
        async for records in self._records(lease):
            for record in records:
                batch.append(batch_writer.parse_row(lease.row, record))
                if len(batch) % YIELD_ROWS == 0 or record.end - yielded_at >= YIELD_BYTES:
                    yielded_at = record.end
                    await asyncio.sleep(0)
                if len(batch) >= BATCH_ROWS or record.end - batch_begin >= BATCH_BYTES:
                    yield batch
                    batch, batch_begin = [], record.end
        if batch:
            yield batch

    async def _records(self, lease: Lease) -> AsyncIterator[Sequence[Record]]:
        """The records after the position of the import, some at a time."""
        position, line = lease.row.bytes_done, lease.row.next_line
        reader: RecordReader = CsvReader(separator=lease.row.separator or ",", position=position, line=line)
        if lease.row.format == "ndjson":
            reader = LineReader(position=position, line=line)
        while position < lease.row.bytes_total:
            piece = await self._piece(lease, position)
            position += len(piece)
            for offset in range(0, len(piece), YIELD_BYTES):
                for records in reader.feed(piece[offset : offset + YIELD_BYTES]):
                    yield records
                    await asyncio.sleep(0)
        for records in reader.finish():
            yield records
            await asyncio.sleep(0)

    async def _piece(self, lease: Lease, position: int) -> bytes:
        """The content from this position to the end of its piece. Raises `LeaseLost` if the file was deleted."""
        number, offset = divmod(position, PIECE_BYTES)
        wanted = select(col(PieceRow.content)).where(
            col(PieceRow.import_id) == lease.id, col(PieceRow.number) == number
        )
        async with self._database.reading() as session:
            content = (await session.execute(wanted)).scalar_one_or_none()
        if content is None:
            raise LeaseLost
        return bytes(content[offset:])

    async def _write(self, lease: Lease, rows: list[FileRow]) -> bool:
        """Write a batch; False if the import has ended by that."""
        try:
            return await self._write_together(lease, rows)
        except (LeaseLost, WaybillError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            # An unexpected error in one row must not prevent the jobs of the others: write each row in its own transaction.
            log.exception("import_batch_failed", import_id=lease.id, rows=len(rows), line=rows[0].record.line)
            for row in rows:
                if not await self._write_alone(lease, row):
                    return False
            return True

    async def _write_alone(self, lease: Lease, row: FileRow) -> bool:
        try:
            return await self._write_together(lease, [row])
        except (LeaseLost, WaybillError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("import_row_failed", import_id=lease.id, line=row.record.line)
            internal = WaybillError("something went wrong")
            return await self._write_together(lease, [FileRow(row.record, internal, row.reference_id)])

    async def _write_together(self, lease: Lease, rows: list[FileRow]) -> bool:
        async with self._database.transaction() as session:
            return await batch_writer.write_batch(session, self._access, lease, rows)


async def _give_up(session: AsyncSession, task: Task, reason: str) -> None:
    await imports.give_up(session, task.key)
