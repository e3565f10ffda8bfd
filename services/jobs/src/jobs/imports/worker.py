"""The worker of imports: claims one import after the other, each for a short turn, and creates its jobs batch by batch.

Any number of workers share the imports of a database. A worker keeps no state between turns: each turn reads the file from the position
after the last batch that was written.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import imports
from jobs.file_formats import CsvReader, LineReader, Record, RecordReader
from jobs.imports import batch_writer
from jobs.imports.batch_writer import FileRow
from jobs.imports.operations import Lease, LeaseLost
from jobs.imports.schemas import ROWS_MAX
from jobs.imports.tables import PIECE_BYTES, PieceRow
from shared.access.authentication import Access
from shared.chassis.parts import Wakeup, periodically
from shared.chassis.retry_delay import retry_delay_seconds
from shared.errors import Invalid, Unavailable, WaybillError
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.transient_errors import is_transient

log = structlog.get_logger(__name__)

TURN_SECONDS = 2.0
"""Length of a turn: an import waits at most this long for each import before it."""
BATCH_ROWS = 100
BATCH_BYTES = 1024 * 1024
"""Rows and bytes of the file in one transaction."""
YIELD_ROWS = 20
YIELD_BYTES = 64 * 1024
"""Rows and bytes that are read before other tasks of this process run."""
RENEW_SECONDS = 5.0
"""Interval at which the lease is renewed while rows are counted."""
FAILURES_MAX = 500
"""Failed turns in a row after which an import fails: with the delays between turns, some hours in which the cause can be repaired."""
POLL_SECONDS = 0.5
SWEEP_SECONDS = 60.0
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0
STOP_SECONDS = 3.0


class ImportWorker:
    """The worker of one process."""

    def __init__(self, database: Database, access: Access, metrics: Metrics):
        self._database = database
        self._access = access
        self._arrived = Wakeup()
        self._rows = metrics.counter("waybill_jobs_import_rows_total", "Rows of imports that were handled.")
        database.after_commit.append(self._notice)

    async def run(self) -> None:
        """Work until cancelled. The batch in progress is then rolled back, and the lease is released."""
        await periodically(self._next_turn, POLL_SECONDS, wakeup=self._arrived)()

    async def sweep(self) -> None:
        """Delete abandoned files and old imports."""
        async with self._database.transaction() as session:
            await imports.delete_stale(session)

    async def _next_turn(self) -> float | None:
        async with self._database.transaction() as session:
            lease = await imports.claim(session)
        if lease is None:
            return None
        await self._turn(lease)
        return 0.0

    async def _turn(self, lease: Lease) -> None:
        delay_seconds, failed = 0.0, False
        try:
            await self._work(lease, time.monotonic() + TURN_SECONDS)
        except LeaseLost:
            log.info("import_lease_lost", import_id=lease.id)
        except Exception as error:
            # The import keeps the position after its last batch; the next turn comes after an increasing delay.
            failed = True
            failures = lease.row.failures + 1
            delay_seconds = retry_delay_seconds(failures, first=DELAY_SECONDS_MIN, longest=DELAY_SECONDS_MAX)
            expected = isinstance(error, Unavailable) or is_transient(error)
            log.warning("import_delayed", import_id=lease.id, error=repr(error), exc_info=not expected)
            if failures >= FAILURES_MAX:
                await self._fail(lease, WaybillError("the import failed too many times in a row", code="gave_up"))
        finally:
            # Otherwise the import would be free only after the lease has expired.
            with suppress(Exception):
                async with asyncio.timeout(STOP_SECONDS), self._database.transaction() as session:
                    await imports.release(session, lease, delay_seconds=delay_seconds, failed=failed)

    async def _work(self, lease: Lease, until: float) -> None:
        if lease.row.rows_total is None and not await self._count(lease):
            return
        async for batch in self._batches(lease):
            await self._write(lease, batch)
            self._rows.inc(len(batch))
            if time.monotonic() > until:
                return
        async with self._database.transaction() as session:
            await batch_writer.finish_import(session, lease)
        log.info("import_done", import_id=lease.id)

    async def _count(self, lease: Lease) -> bool:
        """Count the rows of the file, before any job is created. Returns False, and fails the import, if there are too many."""
        rows_total, renewed_at = 0, time.monotonic()
        async for records in self._records(lease):
            rows_total += len(records)
            if rows_total > ROWS_MAX:
                refusal = Invalid(f"a file can have at most {ROWS_MAX:,} rows: split it", code="too_many_rows")
                await self._fail(lease, refusal)
                return False
            if time.monotonic() - renewed_at > RENEW_SECONDS:
                renewed_at = time.monotonic()
                async with self._database.transaction() as session:
                    await imports.lock_for_update(session, lease)
        async with self._database.transaction() as session:
            (await imports.lock_for_update(session, lease)).rows_total = rows_total
        return True

    async def _fail(self, lease: Lease, reason: WaybillError) -> None:
        async with self._database.transaction() as session:
            await imports.end_import(session, await imports.lock_for_update(session, lease), "failed", reason)

    async def _batches(self, lease: Lease) -> AsyncIterator[list[FileRow]]:
        batch: list[FileRow] = []
        batch_begin = lease.row.bytes_done
        async for records in self._records(lease):
            for record in records:
                batch.append(batch_writer.parse_row(lease, record))
                if len(batch) % YIELD_ROWS == 0:
                    await asyncio.sleep(0)
                if len(batch) >= BATCH_ROWS or record.end - batch_begin >= BATCH_BYTES:
                    yield batch
                    batch, batch_begin = [], record.end
        if batch:
            yield batch

    async def _records(self, lease: Lease) -> AsyncIterator[Sequence[Record]]:
        """The records after the position of the import, some at a time."""
        position, line = lease.row.bytes_done, lease.row.next_line
        reader: RecordReader = CsvReader(position=position, line=line)
        if lease.format == "ndjson":
            reader = LineReader(position=position, line=line)
        while position < lease.row.bytes_total:
            piece = await self._piece(lease, position)
            position += len(piece)
            for offset in range(0, len(piece), YIELD_BYTES):
                yield list(reader.feed(piece[offset : offset + YIELD_BYTES]))
                await asyncio.sleep(0)
        yield list(reader.finish())

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

    async def _write(self, lease: Lease, rows: list[FileRow]) -> None:
        try:
            await self._write_together(lease, rows)
        except (LeaseLost, WaybillError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            # An unexpected error in one row must not prevent the jobs of the others: write each row in its own transaction.
            log.exception("import_batch_failed", import_id=lease.id, rows=len(rows), line=rows[0].record.line)
            for row in rows:
                await self._write_alone(lease, row)

    async def _write_alone(self, lease: Lease, row: FileRow) -> None:
        try:
            await self._write_together(lease, [row])
        except (LeaseLost, WaybillError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("import_row_failed", import_id=lease.id, line=row.record.line)
            internal = WaybillError("something went wrong")
            await self._write_together(lease, [FileRow(row.record, internal, row.reference_id)])

    async def _write_together(self, lease: Lease, rows: list[FileRow]) -> None:
        async with self._database.transaction() as session:
            await batch_writer.write_batch(session, self._access, lease, rows)

    def _notice(self, session: AsyncSession) -> None:
        """Called after each commit of this process."""
        if imports.take_announcement(session):
            self._arrived.set()
