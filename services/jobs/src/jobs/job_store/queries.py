"""Visibility: which jobs and actions a caller may see, and how rows become jobs and actions of the API. Every query starts here."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Boolean, ColumnElement, Row, Select, any_, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from sqlmodel import col

from jobs.job_store.rules import allowed_transitions
from jobs.job_store.schemas import Action, Job
from jobs.job_store.tables import ActionRow, JobRow
from jobs.registry import Base
from shared.access.principals import Caller
from shared.errors import NotFound, WaybillError
from shared.events.jobs import JobState
from shared.postgres.column_types import TypedId

RowT = TypeVar("RowT", JobRow, ActionRow)

_ACTIONS = Base.metadata.tables["actions"]
_ACTION_COLUMNS = [_ACTIONS.c[name] for name in Action.model_fields if name != "object"]
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


async def get_jobs(session: AsyncSession, requested: Sequence[tuple[Caller, str]]) -> list[Job | WaybillError]:
    """For each caller the job with this id, or `NotFound` if the caller may not see it. One query for all of them."""
    found = await session.execute(
        _REQUESTED_JOBS,
        {
            "job_ids": [job_id for _, job_id in requested],
            "tenant_ids": [caller.tenant_id for caller, _ in requested],
            "livemodes": [caller.livemode for caller, _ in requested],
            "merchant_ids": [_own_merchant(caller) for caller, _ in requested],
        },
    )
    rows = {row.place: row for row in found}
    jobs = dict(zip(rows, await with_actions(session, list(rows.values())), strict=True))
    return [jobs.get(place) or job_not_found() for place in range(1, len(requested) + 1)]


async def get_job(session: AsyncSession, caller: Caller, job_id: str) -> Job:
    """One job. Raises `NotFound`, also if the caller may not see it."""
    (found,) = await get_jobs(session, [(caller, job_id)])
    if isinstance(found, WaybillError):
        raise found
    return found


async def require_job(session: AsyncSession, caller: Caller, job_id: str, *, deleted: bool = False) -> None:
    """Raise `NotFound` unless the caller may see this job."""
    if not await session.scalar(select(visible_to(caller, deleted=deleted).where(col(JobRow.id) == job_id).exists())):
        raise job_not_found()


async def with_actions(session: AsyncSession, rows: Sequence[JobRow | Row[Any]]) -> list[Job]:
    """These jobs with their actions, as the API shows them. Actions are read as plain rows, since a page can have thousands."""
    if not rows:
        return []
    found = await session.execute(_ACTIONS_OF_JOBS, {"job_ids": list({row.id for row in rows})})
    by_job = {job_id: list(of_job) for job_id, of_job in groupby(found.mappings(), key=lambda row: row["job_id"])}
    return [
        view_job(
            row,
            # A deleted job has the actions that were deleted with it.
            (
                Action.model_validate(dict(action))
                for action in by_job.get(row.id, [])
                if action["deleted_at"] == row.deleted_at
            ),
        )
        for row in rows
    ]


def view_job(row: JobRow | Row[Any], actions: Iterable[Action]) -> Job:
    """A job as the API shows it."""
    return Job(
        **{name: getattr(row, name) for name in _FROM_ROW},
        metadata=row.metadata_,
        actions=list(actions),
        allowed_transitions=allowed_transitions(row.status),
    )


def view_action(row: ActionRow) -> Action:
    """An action as the API shows it."""
    return Action(**{column.key: getattr(row, column.key) for column in _ACTION_COLUMNS})


def not_deleted(rows: type[RowT]) -> Select[RowT]:
    """All rows that are not deleted, of all tenants: for queries that add their own condition on the owner."""
    return _deleted_or_not(rows, deleted=False)


def _visible_rows(caller: Caller, rows: type[RowT], deleted: bool) -> Select[RowT]:
    return _deleted_or_not(rows, deleted=deleted).where(
        *_visible(rows, caller.tenant_id, caller.livemode, _own_merchant(caller))
    )


def _own_merchant(caller: Caller) -> str | None:
    """The merchant whose rows alone the caller may see; None: it may see those of all merchants."""
    return caller.subject_id if caller.row_scope == "own" else None


def _visible(rows: type[RowT], tenant_id: Any, livemode: Any, merchant_id: Any | None) -> list[ColumnElement[bool]]:
    """The rule of visibility, for the values of one caller or for columns with those of many."""
    rule: list[ColumnElement[bool]] = [col(rows.tenant_id) == tenant_id, col(rows.livemode) == livemode]
    return rule if merchant_id is None else [*rule, col(rows.merchant_id) == merchant_id]


def _deleted_or_not(rows: type[RowT], *, deleted: bool) -> Select[RowT]:
    # The search columns are large and not shown, so they are not loaded.
    found = select(rows).options(*(defer(getattr(rows, name)) for name in ("terms", "parts")))
    return found.where(col(rows.deleted_at).is_not(None) if deleted else col(rows.deleted_at).is_(None))


def _requested_jobs() -> Select[Any]:
    requested = (
        func.unnest(
            bindparam("job_ids", type_=ARRAY(TypedId("job"))),
            bindparam("tenant_ids", type_=ARRAY(TypedId("ten"))),
            bindparam("livemodes", type_=ARRAY(Boolean())),
            bindparam("merchant_ids", type_=ARRAY(TypedId("mer"))),
        )
        .table_valued(
            column("job_id", TypedId("job")),
            column("tenant_id", TypedId("ten")),
            column("livemode", Boolean()),
            column("merchant_id", TypedId("mer")),
            with_ordinality="place",
        )
        .render_derived(name="requested")
    )
    own_or_any = func.coalesce(requested.c.merchant_id, col(JobRow.merchant_id))
    columns: list[ColumnElement[Any]] = [getattr(JobRow, name) for name in (*_FROM_ROW, "metadata_")]
    return (
        select(*columns, requested.c.place)
        .join_from(requested, JobRow, col(JobRow.id) == requested.c.job_id)
        .where(*_visible(JobRow, requested.c.tenant_id, requested.c.livemode, own_or_any))
        .where(col(JobRow.deleted_at).is_(None))
    )


_REQUESTED_JOBS = _requested_jobs()
