"""Visibility: which jobs and actions a caller may see, and how rows become jobs and actions of the API. Every query starts here."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from sqlalchemy import Select, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from sqlmodel import col

from jobs.job_store.rules import allowed_transitions
from jobs.job_store.schemas import Job
from jobs.job_store.tables import ActionRow, JobRow
from jobs.registry import Base
from shared.access.principals import Caller
from shared.errors import NotFound
from shared.events.jobs import ActionState, JobState
from shared.postgres.column_types import TypedId

RowT = TypeVar("RowT", JobRow, ActionRow)

_ACTIONS = Base.metadata.tables["actions"]
_ACTION_COLUMNS = [_ACTIONS.c[name] for name in ActionState.model_fields if name != "object"]
_ACTIONS_OF_JOBS = (
    select(*_ACTION_COLUMNS, _ACTIONS.c.deleted_at)
    # One array, so that pages of every length share one prepared statement.
    .where(_ACTIONS.c.job_id == any_(bindparam("job_ids", type_=ARRAY(TypedId("job")))))
    .order_by(_ACTIONS.c.job_id, _ACTIONS.c.position, _ACTIONS.c.id)
)

_FROM_ROW = tuple(JobState.model_fields.keys() - {"object", "metadata", "actions"})
"""Fields of a job that are columns of the same name."""


def visible_to(caller: Caller, *, deleted: bool = False) -> Select[JobRow]:
    """The jobs that the caller may see: those of its tenant and mode; for a merchant only its own. Either deleted ones or all others."""
    return _visible_rows(caller, JobRow, deleted)


def visible_actions_to(caller: Caller, *, deleted: bool = False) -> Select[ActionRow]:
    """The actions that the caller may see, by the same rule."""
    return _visible_rows(caller, ActionRow, deleted)


def job_not_found() -> NotFound:
    return NotFound("no such job", code="job_not_found")


def action_not_found() -> NotFound:
    return NotFound("no such action in this job", code="action_not_found")


async def require_job(session: AsyncSession, caller: Caller, job_id: str, *, deleted: bool = False) -> None:
    """Raise `NotFound` unless the caller may see this job."""
    if not await session.scalar(select(visible_to(caller, deleted=deleted).where(col(JobRow.id) == job_id).exists())):
        raise job_not_found()


async def with_actions(session: AsyncSession, rows: Sequence[JobRow]) -> list[Job]:
    """These jobs with their actions, as the API shows them. Actions are read as plain rows, since a page can have thousands."""
    if not rows:
        return []
    found = await session.execute(_ACTIONS_OF_JOBS, {"job_ids": [row.id for row in rows]})
    by_job = {job_id: list(of_job) for job_id, of_job in groupby(found.mappings(), key=lambda row: row["job_id"])}
    return [
        view_job(
            row,
            # A deleted job has the actions that were deleted with it.
            (
                ActionState.model_validate(dict(action))
                for action in by_job.get(row.id, [])
                if action["deleted_at"] == row.deleted_at
            ),
        )
        for row in rows
    ]


def view_job(row: JobRow, actions: Iterable[ActionState]) -> Job:
    """A job as the API shows it."""
    return Job(
        **{name: getattr(row, name) for name in _FROM_ROW},
        metadata=row.metadata_,
        actions=list(actions),
        allowed_transitions=allowed_transitions(row.status),
    )


def view_action(row: ActionRow) -> ActionState:
    """An action as the API shows it."""
    return ActionState(**{column.key: getattr(row, column.key) for column in _ACTION_COLUMNS})


def not_deleted(rows: type[RowT]) -> Select[RowT]:
    """All rows that are not deleted, of all tenants: for queries that add their own condition on the owner."""
    return _deleted_or_not(rows, deleted=False)


def _visible_rows(caller: Caller, rows: type[RowT], deleted: bool) -> Select[RowT]:
    found = _deleted_or_not(rows, deleted=deleted)
    found = found.where(col(rows.tenant_id) == caller.tenant_id, col(rows.livemode) == caller.livemode)
    return found.where(col(rows.merchant_id) == caller.subject_id) if caller.row_scope == "own" else found


def _deleted_or_not(rows: type[RowT], *, deleted: bool) -> Select[RowT]:
    # The search columns are large and not shown, so they are not loaded.
    found = select(rows).options(*(defer(getattr(rows, name)) for name in ("terms", "parts")))
    return found.where(col(rows.deleted_at).is_not(None) if deleted else col(rows.deleted_at).is_(None))
