"""The worker of imports: takes one import after the other, each for a short turn, and creates its jobs batch by batch.

Any number of workers share the imports of a database. A turn needs no memory of those before: it reads the file from the position
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
"""Others wait no longer than this for each that is before them."""
BATCH_ROWS = 100
BATCH_BYTES = 1024 * 1024
YIELD_ROWS = 20
YIELD_BYTES = 64 * 1024
"""What is read in one go; then whatever else runs in this process has its turn."""
RENEW_SECONDS = 5.0
FAILURES_MAX = 500
"""Turns in a row that may come to nothing: hours, in which whatever is out of order can be put right."""
POLL_SECONDS = 0.5
SWEEP_SECONDS = 60.0
DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0
STOP_SECONDS = 3.0


class ImportWorker:
    """One replica's worker."""

    def __init__(self, database: Database, access: Access, metrics: Metrics):
        self._database = database
        self._access = access
        self._arrived = Wakeup()
        self._rows = metrics.counter("waybill_jobs_import_rows_total", "Rows of imports that were looked at.")
        database.after_commit.append(self._notice)

    async def run(self) -> None:
        """Work until cancelled; what was under way is then undone, and somebody else's at once."""
        await periodically(self._next_turn, POLL_SECONDS, wakeup=self._arrived)()

    async def sweep(self) -> None:
        """Delete what stale imports have left."""
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
            # It stays where the last batch has left it, and is tried again, later each time.
            failed = True
            failures = lease.row.failures + 1
            delay_seconds = retry_delay_seconds(failures, first=DELAY_SECONDS_MIN, longest=DELAY_SECONDS_MAX)
            expected = isinstance(error, Unavailable) or is_transient(error)
            log.warning("import_delayed", import_id=lease.id, error=repr(error), exc_info=not expected)
            if failures >= FAILURES_MAX:
                await self._fail(
                    lease, WaybillError("this could not be done, however often it was tried", code="gave_up")
                )
        finally:
            # Without this it would only be free when the lease has run out.
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
        """Count the rows before the first job is created; whether there are few enough."""
        rows_total, held_at = 0, time.monotonic()
        async for records in self._records(lease):
            rows_total += len(records)
            if rows_total > ROWS_MAX:
                refusal = Invalid(f"a file may have {ROWS_MAX:,} rows at most: split it", code="too_many_rows")
                await self._fail(lease, refusal)
                return False
            if time.monotonic() - held_at > RENEW_SECONDS:
                held_at = time.monotonic()
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
        begun_at = lease.row.bytes_done
        async for records in self._records(lease):
            for record in records:
                batch.append(batch_writer.parse_row(lease, record))
                if len(batch) % YIELD_ROWS == 0:
                    await asyncio.sleep(0)
                if len(batch) >= BATCH_ROWS or record.end - begun_at >= BATCH_BYTES:
                    yield batch
                    batch, begun_at = [], record.end
        if batch:
            yield batch

    async def _records(self, lease: Lease) -> AsyncIterator[Sequence[Record]]:
        """The records that are left, some at a time."""
        position, line = lease.row.bytes_done, lease.row.next_line
        reader: RecordReader = CsvReader(position=position, line=line)
        if lease.format == "ndjson":
            reader = LineReader(position=position, line=line)
        while position < lease.row.bytes_total:
            piece = await self._piece(lease, position)
            position += len(piece)
            for begins in range(0, len(piece), YIELD_BYTES):
                yield list(reader.feed(piece[begins : begins + YIELD_BYTES]))
                await asyncio.sleep(0)
        yield list(reader.finish())

    async def _piece(self, lease: Lease, position: int) -> bytes:
        """The rest of the piece in which this place of the file is. Raises `LeaseLost` when the file was thrown away."""
        number, begins = divmod(position, PIECE_BYTES)
        wanted = select(col(PieceRow.content)).where(
            col(PieceRow.import_id) == lease.id, col(PieceRow.number) == number
        )
        async with self._database.reading() as session:
            content = (await session.execute(wanted)).scalar_one_or_none()
        if content is None:
            raise LeaseLost
        return bytes(content[begins:])

    async def _write(self, lease: Lease, rows: list[FileRow]) -> None:
        try:
            await self._write_together(lease, rows)
        except (LeaseLost, WaybillError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            # One row for which the fault is ours must not keep the others from being created.
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
            ours = WaybillError("something went wrong")
            await self._write_together(lease, [FileRow(row.record, ours, row.reference_id)])

    async def _write_together(self, lease: Lease, rows: list[FileRow]) -> None:
        async with self._database.transaction() as session:
            await batch_writer.write_batch(session, self._access, lease, rows)

    def _notice(self, session: AsyncSession) -> None:
        """Hook after a commit of this process."""
        if imports.take_announcement(session):
            self._arrived.set()
