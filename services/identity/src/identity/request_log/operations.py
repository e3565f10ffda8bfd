"""Stores what the services publish about requests, and deletes what is old."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.request_log.tables import FailedRequestRow, RequestCountRow
from shared.events.access import RequestsLogged
from shared.ids import first_id_at, from_uuid

_COUNTED = ("tenant_id", "credential_id", "hour", "service", "process_id")


async def store(session: AsyncSession, logged: Iterable[RequestsLogged]) -> None:
    """Store failed requests, each once, and counts: of those of one process and hour the largest, in whatever order they come."""
    failed = {
        state.failed_request_id: {**state.model_dump(), "service": event.subject}
        for event in logged
        for state in event.data.failed
    }
    if failed:
        rows = [failed[failed_request_id] for failed_request_id in sorted(failed)]
        await session.execute(insert(FailedRequestRow).on_conflict_do_nothing(), rows)
    await _store_counts(session, logged)


async def _store_counts(session: AsyncSession, logged: Iterable[RequestsLogged]) -> None:
    largest: dict[tuple[object, ...], dict[str, object]] = {}
    for event in logged:
        for state in event.data.counts:
            row = {**state.model_dump(), "service": event.subject, "process_id": event.data.process_id}
            known = largest.get(key := tuple(row[name] for name in _COUNTED))
            if known is None or state.calls > known["calls"]:  # type: ignore[operator]
                largest[key] = row
    if not largest:
        return
    statement = insert(RequestCountRow)
    new, stored = statement.excluded, RequestCountRow
    statement = statement.on_conflict_do_update(
        index_elements=_COUNTED,
        set_={
            "calls": func.greatest(col(stored.calls), new.calls),
            "errors": func.greatest(col(stored.errors), new.errors),
        },
    )
    # All writers take rows in one order, so that two batches cannot deadlock.
    await session.execute(statement, [row for _, row in sorted(largest.items(), key=lambda item: str(item[0]))])


async def delete_older(session: AsyncSession, before: datetime, rows_max: int) -> bool:
    """Delete what is of before this instant, `rows_max` rows of each table at most; True if there may be more."""
    # Ids begin with the time at which they were made, so the primary key finds the oldest rows.
    oldest = (
        select(col(FailedRequestRow.failed_request_id))
        .where(col(FailedRequestRow.failed_request_id) < from_uuid("frq", first_id_at(before)))
        .order_by(col(FailedRequestRow.failed_request_id))
        .limit(rows_max)
    )
    failed = delete(FailedRequestRow).where(col(FailedRequestRow.failed_request_id).in_(oldest))
    key = [col(getattr(RequestCountRow, name)) for name in _COUNTED]
    ended = select(*key).where(col(RequestCountRow.hour) < before).order_by(col(RequestCountRow.hour)).limit(rows_max)
    counts = delete(RequestCountRow).where(tuple_(*key).in_(ended))
    deleted = [
        len((await session.execute(statement)).all())
        for statement in (failed.returning(col(FailedRequestRow.failed_request_id)), counts.returning(*key))
    ]
    return rows_max in deleted
