"""Bulk commands on jobs: `shared.bulk` carries them out with the list of jobs and the operations on one job."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jobs import jobs, lifecycle, search
from jobs.bulk_commands.schemas import JobCommand, JobCommandIn, JobsToChange
from jobs.bulk_commands.tables import JobCommandRow
from jobs.lifecycle import Reason
from shared import bulk
from shared.api import ANY_VERSION, Paging
from shared.audit import Actor
from shared.bulk import Bulk, BulkRow, Matching

_READ = "orders.jobs.read"
_DISPATCH = frozenset({_READ, "orders.dispatch"})


async def _list_matching(session: AsyncSession, actor: Actor, row: BulkRow, paging: Paging) -> Matching:
    found = await search.list_jobs(session, actor.caller, JobsToChange.model_validate(row.filters), paging)
    return Matching([job["id"] for job in found.data], found.next_cursor)


async def _apply(session: AsyncSession, actor: Actor, row: BulkRow, job_id: str) -> None:
    command: Any = row.command
    if command == "delete":
        await jobs.delete(session, actor.caller, job_id, ANY_VERSION)
    else:
        reason = Reason(reason=row.arguments.get("reason"))
        await lifecycle.run_command(session, actor.caller, job_id, command, ANY_VERSION, reason)


BULK = Bulk(
    name="job_command",
    table=JobCommandRow,
    permissions={
        "cancel": frozenset({_READ, "orders.jobs.cancel"}),
        "delete": frozenset({_READ, "orders.jobs.delete"}),
        **dict.fromkeys(("accept", "start", "complete", "fail", "report_damage", "resolve"), _DISPATCH),
    },
    list_matching=_list_matching,
    apply=_apply,
)


async def create(session: AsyncSession, actor: Actor, wanted: JobCommandIn) -> JobCommand:
    """A command for all jobs that match. Raises `Forbidden`, or `Conflict` (too many are running)."""
    row = await bulk.create(
        session,
        BULK,
        actor,
        wanted.command,
        filters=wanted.filters.model_dump(mode="json", exclude_unset=True),
        arguments={"reason": wanted.reason},
        dry_run=wanted.dry_run,
    )
    return view(row)


def view(row: BulkRow) -> JobCommand:
    """A bulk command as the API shows it."""
    command: Any = row.command
    return JobCommand(**bulk.shown(row), command=command, filters=row.filters, reason=row.arguments.get("reason"))
