"""Visibility: which jobs and actions exist for a caller, and how a row is shown. Every query about them starts here."""

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
"""Fields of a job that its row holds under their own names."""


def visible_to(caller: Caller, *, deleted: bool = False) -> Select[JobRow]:
    """The jobs that exist for this caller: its tenant's, of its mode, and a merchant's own alone. Deleted ones are a set of their own."""
    return _visible_rows(caller, JobRow, deleted)


def visible_actions_to(caller: Caller, *, deleted: bool = False) -> Select[ActionRow]:
    """The actions that exist for this caller, likewise."""
    return _visible_rows(caller, ActionRow, deleted)


def job_not_found() -> NotFound:
    return NotFound("no such job", code="job_not_found")


def action_not_found() -> NotFound:
    return NotFound("no such action in this job", code="action_not_found")


async def require_job(session: AsyncSession, caller: Caller, job_id: str, *, deleted: bool = False) -> None:
    """Raises `NotFound` unless this job exists for the caller."""
    if not await session.scalar(select(visible_to(caller, deleted=deleted).where(col(JobRow.id) == job_id).exists())):
        raise job_not_found()


async def with_actions(session: AsyncSession, rows: Sequence[JobRow]) -> list[Job]:
    """These jobs as they look from outside. Actions are read as plain rows: a page can have thousands of them."""
    if not rows:
        return []
    found = await session.execute(_ACTIONS_OF_JOBS, {"job_ids": [row.id for row in rows]})
    by_job = {job_id: list(of_job) for job_id, of_job in groupby(found.mappings(), key=lambda row: row["job_id"])}
    return [
        view_job(
            row,
            # A deleted job still has the actions that it took with it, and those alone.
            (
                ActionState.model_validate(dict(action))
                for action in by_job.get(row.id, [])
                if action["deleted_at"] == row.deleted_at
            ),
        )
        for row in rows
    ]


def view_job(row: JobRow, actions: Iterable[ActionState]) -> Job:
    """A job as it looks from outside."""
    return Job(
        **{name: getattr(row, name) for name in _FROM_ROW},
        metadata=row.metadata_,
        actions=list(actions),
        allowed_transitions=allowed_transitions(row.status),
    )


def view_action(row: ActionRow) -> ActionState:
    """An action as it looks from outside."""
    return ActionState(**{column.key: getattr(row, column.key) for column in _ACTION_COLUMNS})


def not_deleted(rows: type[RowT]) -> Select[RowT]:
    """What is not deleted, whoever's it is: for queries that have a condition of their own on whose they want."""
    return _deleted_or_not(rows, deleted=False)


def _visible_rows(caller: Caller, rows: type[RowT], deleted: bool) -> Select[RowT]:
    found = _deleted_or_not(rows, deleted=deleted)
    found = found.where(col(rows.tenant_id) == caller.tenant_id, col(rows.livemode) == caller.livemode)
    return found.where(col(rows.merchant_id) == caller.subject_id) if caller.row_scope == "own" else found


def _deleted_or_not(rows: type[RowT], *, deleted: bool) -> Select[RowT]:
    # Terms are for finding alone: they need not travel.
    found = select(rows).options(*(defer(getattr(rows, name)) for name in ("terms", "parts")))
    return found.where(col(rows.deleted_at).is_not(None) if deleted else col(rows.deleted_at).is_(None))
