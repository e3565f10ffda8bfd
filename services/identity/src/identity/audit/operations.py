"""Stores audit events, each once; streams them; and deletes old ones."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from identity.audit.queries import list_events
from identity.audit.schemas import AuditEvent, AuditFilters
from identity.audit.tables import AuditRow
from shared import audit
from shared.access.authentication import Access
from shared.api import Page, Paging, Transactions
from shared.api.cursors import Cursors
from shared.api.exports import ExportResponse, RunningExports
from shared.audit import Actor
from shared.events.audit import AuditRecorded, AuditState
from shared.ids import first_id_at, from_uuid, known_uuid, to_uuid
from shared.messaging import outbox
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_of

_STORE = """
    INSERT INTO audit_events (
        audit_id, service, tenant_id, created_at, actor, actor_kind, via, credential_id, action, target, address, request_id,
        before, after
    )
    SELECT
        audit_id, service, tenant_id, at, actor, actor_kind, via, credential_id, action, target, address, request_id, before,
        after
    FROM jsonb_to_recordset($1::text::jsonb) AS recorded (
        audit_id uuid, service text, tenant_id uuid, at timestamptz, actor text, actor_kind text, via text,
        credential_id text, action text, target text, address text, request_id text, before jsonb, after jsonb
    )
    ORDER BY audit_id
    ON CONFLICT DO NOTHING
"""
"""All writers take rows in one order, so that two batches cannot deadlock."""
NDJSON = "application/x-ndjson"
PAGE_EVENTS = 200
"""Events that a stream reads and writes at once."""


async def store(session: AsyncSession, recorded: Sequence[AuditState]) -> None:
    """Store these audit events. One that is stored already stays as it is."""
    if recorded:
        # This runs with every write of identity.
        driver = await driver_of(session)
        await driver.execute(_STORE, to_json([_row(state) for state in recorded]).decode())


async def store_own_events(session: AsyncSession) -> None:
    """Hook before a commit: store the audit events that identity publishes itself, in the same transaction."""
    await store(session, [event.data for event in outbox.pending(session) if isinstance(event, AuditRecorded)])


def _row(state: AuditState) -> dict[str, Any]:
    """An audit event as `_STORE` reads it."""
    values = state.model_dump(mode="json")
    values["audit_id"] = str(to_uuid(state.audit_id))
    if state.tenant_id is not None:
        values["tenant_id"] = str(known_uuid(state.tenant_id))
    return values


async def delete_older(session: AsyncSession, before: datetime, rows_max: int) -> int:
    """Delete audit events of before this instant, `rows_max` at most; returns how many."""
    # Ids begin with the time at which they were made, so the primary key finds the oldest rows.
    oldest = (
        select(col(AuditRow.audit_id))
        .where(col(AuditRow.audit_id) < from_uuid("aud", first_id_at(before)), col(AuditRow.created_at) < before)
        .order_by(col(AuditRow.audit_id))
        .limit(rows_max)
    )
    statement = delete(AuditRow).where(col(AuditRow.audit_id).in_(oldest)).returning(col(AuditRow.audit_id))
    return len((await session.execute(statement)).all())


class AuditExports:
    """The streams of audit events of one process, each with one page in memory."""

    def __init__(self, database: Database, access: Access, *, at_once_max: int, per_tenant_max: int):
        self._database = database
        self._access = access
        self._running = RunningExports(at_once_max=at_once_max, per_tenant_max=per_tenant_max)

    async def begin(
        self, transactions: Transactions, actor: Actor, filters: AuditFilters, cursors: Cursors, cursor: str | None
    ) -> Response:
        """All audit events of the list, one JSON document per line; its own audit event is committed before the first one leaves.

        Raises as the list does, `TooManyRequests` if too many streams of this tenant run, `Unavailable` if too many of all do.
        """
        ended = self._running.begin(actor.tenant_id)
        try:
            first = await self._page(actor, filters, cursors.paging(PAGE_EVENTS, cursor))
            async with transactions.begin() as session:
                asked = sorted(name for name, value in asdict(filters).items() if value is not None)
                audit.record(session, actor, "audit_events.exported", actor.tenant_id, after={"filters": asked})
        except BaseException:
            ended()
            raise
        return ExportResponse(
            self._content(actor, filters, cursors, first),
            media_type=NDJSON,
            file_name=f"audit-events-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.ndjson",
            ended=ended,
        )

    async def _content(
        self, actor: Actor, filters: AuditFilters, cursors: Cursors, page: Page[AuditEvent]
    ) -> AsyncIterator[bytes]:
        while True:
            yield b"".join(event.__pydantic_serializer__.to_json(event) + b"\n" for event in page.data)
            if page.next_cursor is None:
                return
            page = await self._page(actor, filters, cursors.paging(PAGE_EVENTS, page.next_cursor))

    async def _page(self, actor: Actor, filters: AuditFilters, paging: Paging) -> Page[AuditEvent]:
        async with self._database.reading() as session:
            # A stream can take long, and the caller can lose access meanwhile.
            await self._access.recheck(session, actor.caller)
            return await list_events(session, actor, filters, paging)
