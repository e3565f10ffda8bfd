"""Bulk commands: created, read and cancelled by whoever may run the command on each record."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared import audit, tasks
from shared.access.principals import Caller
from shared.api import Paging
from shared.audit import Actor
from shared.bulk.schemas import BulkStatus, BulkView
from shared.bulk.tables import BulkRow
from shared.errors import Conflict, Forbidden, NotFound
from shared.ids import new_id
from shared.postgres.advisory_locks import KeyedAdvisoryLock, lock_keys
from shared.tasks import NewTask

RUNNING_MAX = 5
"""Bulk commands of one tenant and kind that may run at once."""


@dataclass(frozen=True, slots=True)
class Matching:
    """The next records that match, and the cursor after them; None: there are no further ones."""

    ids: Sequence[str]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Bulk:
    """The bulk commands on one kind of record."""

    name: str
    """Of the kind of tasks, and of actions in the audit trail: `job_command`."""
    table: type[BulkRow]
    permissions: Mapping[str, frozenset[str]]
    """What each command needs besides: the permissions of the list, and of the route of one record."""
    list_matching: Callable[[AsyncSession, Actor, BulkRow, Paging], Awaitable[Matching]]
    """A page of the list that the caller sees with these filters, newest first."""
    apply: Callable[[AsyncSession, Actor, BulkRow, str], Awaitable[object]]
    """Runs the command on the record with this id, as its own route does. Raises `WaybillError`."""

    def require(self, caller: Caller, command: str) -> None:
        """Raises `Forbidden` unless the caller may run this command."""
        missing = sorted(code for code in self.permissions[command] if not caller.may(code))
        if missing:
            raise Forbidden(f"the permission {missing[0]} is missing", code="permission_missing", required=missing)


async def create(
    session: AsyncSession,
    bulk: Bulk,
    actor: Actor,
    command: str,
    *,
    filters: Mapping[str, Any],
    arguments: Mapping[str, Any],
    dry_run: bool,
) -> BulkRow:
    """A bulk command, which starts in the background. Raises `Forbidden`, or `Conflict` (too many are running)."""
    bulk.require(actor.caller, command)
    await lock_keys(session, KeyedAdvisoryLock.BULK_LIMIT, [actor.tenant_id])
    table = bulk.table
    running = select(func.count()).where(col(table.tenant_id) == actor.tenant_id, col(table.status) == "running")
    if (await session.execute(running)).scalar_one() >= RUNNING_MAX:
        raise Conflict(
            f"a tenant may have {RUNNING_MAX} of them running: wait, or cancel one", code="bulk_limit_reached"
        )
    now = datetime.now(UTC)
    principal = actor.caller.principal
    row = table(
        id=new_id("blk"),
        tenant_id=actor.tenant_id,
        livemode=actor.livemode,
        command=command,
        filters=dict(filters),
        arguments=dict(arguments),
        dry_run=dry_run,
        status="running",
        created_by=actor.id,
        via=actor.caller.via,
        subject_id=principal.subject_id,
        credential_id=principal.credential_id,
        credential_digest=principal.digests[0][0] if principal.digests else None,
        address=actor.origin.address,
        request_id=actor.origin.request_id,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    await tasks.schedule(session, [NewTask(bulk.name, row.id)])
    audit.record(session, actor, f"{bulk.name}.ordered", row.id, after=_audited(row))
    return row


async def get(session: AsyncSession, bulk: Bulk, caller: Caller, bulk_id: str, *, for_update: bool = False) -> BulkRow:
    """A bulk command that the caller may run. Raises `NotFound`, `Forbidden`."""
    table = bulk.table
    statement = select(table).where(
        col(table.id) == bulk_id, col(table.tenant_id) == caller.tenant_id, col(table.livemode) == caller.livemode
    )
    if for_update:
        statement = statement.with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no bulk command with this id", code="bulk_command_not_found")
    bulk.require(caller, row.command)
    return row


async def cancel(session: AsyncSession, bulk: Bulk, actor: Actor, bulk_id: str) -> BulkRow:
    """Cancel a bulk command: what it has changed stays. Repeating this changes nothing.

    Raises `NotFound`, `Forbidden`, or `Conflict` if it has completed or failed.
    """
    row = await get(session, bulk, actor.caller, bulk_id, for_update=True)
    if row.status == "cancelled":
        return row
    if row.status != "running":
        raise Conflict(
            "this bulk command has ended",
            code="bulk_command_ended",
            current_status=row.status,
            allowed_transitions=list[str](),
        )
    before = _audited(row)
    finish(row, "cancelled")
    row.version += 1
    await tasks.cancel(session, bulk.name, [row.id])
    audit.record(session, actor, f"{bulk.name}.cancelled", row.id, before=before, after=_audited(row))
    return row


def finish(row: BulkRow, status: BulkStatus, failure: str | None = None) -> None:
    """End a bulk command with this status."""
    row.status = status
    row.failure = failure
    row.finished_at = row.updated_at = datetime.now(UTC)


def shown(row: BulkRow) -> dict[str, Any]:
    """The members of `BulkView`."""
    return {name: getattr(row, name) for name in BulkView.model_fields}


def _audited(row: BulkRow) -> dict[str, Any]:
    # Filters may have names and numbers of customers: the audit trail has none.
    return {name: getattr(row, name) for name in ("command", "dry_run", "status", "changed")}
