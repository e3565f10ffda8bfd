"""Visibility: which jobs and actions a caller may see, and how rows become jobs and actions of the API. Every query starts here."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Boolean, ColumnElement, Row, Select, and_, any_, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from sqlmodel import col

from jobs.job_store.rules import allowed_transitions, window_instants
from jobs.job_store.schemas import Action, Job
from jobs.job_store.tables import ActionRow, JobRow
from jobs.registry import Base
from shared.access.principals import Caller
from shared.errors import NotFound, WaybillError
from shared.events.jobs import AddressState, ContactState, JobState, OutcomeState, StopState
from shared.ids import from_uuid, known_uuid
from shared.postgres.column_types import TypedId
from shared.postgres.fragments import Sql, as_text

RowT = TypeVar("RowT", JobRow, ActionRow)

_ACTIONS = Base.metadata.tables["actions"]
_ACTION_COLUMNS = [_ACTIONS.c[name] for name in Action.model_fields if name != "object"]
_ACTIONS_OF_JOBS = (
    select(*_ACTION_COLUMNS, _ACTIONS.c.deleted_at)
    # One array, so that pages of every length share one prepared statement.
    .where(_ACTIONS.c.job_id == any_(bindparam("job_ids", type_=ARRAY(TypedId("job")))))
    .order_by(_ACTIONS.c.job_id, _ACTIONS.c.position, _ACTIONS.c.id)
)

ACTION_COLUMNS = ", ".join(name for name in Action.model_fields if name != "object")
"""What `action_document` reads of a row."""
_ACTIONS_FOR_DRIVER = f"""
    SELECT {ACTION_COLUMNS}, deleted_at FROM actions WHERE job_id = ANY($1::uuid[]) ORDER BY job_id, position, id
"""  # noqa: S608 - constants
_JOB_FIELDS = tuple(name for name in JobState.model_fields if name != "object")
JOB_COLUMNS = ", ".join("NULL AS actions" if name == "actions" else name for name in _JOB_FIELDS)
"""What `documents_with_actions` reads of a row."""

_ACTION_FIELDS = tuple(ACTION_COLUMNS.split(", "))
Document = dict[str, Any]
"""A record of the API, with values that become JSON."""
# JSON in rows is without what is null.
_NO_CONTACT = dict.fromkeys(ContactState.model_fields)
_NO_ADDRESS = dict.fromkeys(AddressState.model_fields)
_NO_STOP = dict.fromkeys(StopState.model_fields)
_NO_OUTCOME = {name: field.default for name, field in OutcomeState.model_fields.items()}

_FROM_ROW = tuple(JobState.model_fields.keys() - {"object", "metadata", "actions"})
"""Fields of a job that are columns of the same name."""


def visible_to(caller: Caller, *, deleted: bool = False) -> Select[JobRow]:
    """The jobs that the caller may see: those of its tenant and mode; for a merchant only its own. Either deleted ones or all others."""
    return _visible_rows(caller, JobRow, deleted)


def visible_actions_to(caller: Caller, *, deleted: bool = False) -> Select[ActionRow]:
    """The actions that the caller may see, by the same rule."""
    return _visible_rows(caller, ActionRow, deleted)


def visible(caller: Caller, rows: type[JobRow | ActionRow], *, deleted: bool = False) -> Sql:
    """The same rule as a condition for the driver."""
    own_merchant = _own_merchant(caller)
    text, names = _visible_as_text(rows, own_merchant is not None, deleted)
    ids = {"tenant_id": known_uuid(caller.tenant_id), "livemode": caller.livemode}
    if own_merchant is not None:
        ids["merchant_id"] = known_uuid(own_merchant)
    return Sql(text, tuple(ids[name] for name in names))


@lru_cache
def _visible_as_text(rows: type[JobRow | ActionRow], of_merchant: bool, deleted: bool) -> tuple[str, tuple[str, ...]]:
    """The text of the rule, and the names of its values in their order."""
    merchant_id: Any = bindparam("merchant_id") if of_merchant else None
    rule = _visible(rows, bindparam("tenant_id"), bindparam("livemode"), merchant_id)
    return as_text(and_(col(rows.deleted_at).is_not(None) if deleted else col(rows.deleted_at).is_(None), *rule))


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


async def documents_with_actions(driver: asyncpg.Connection, rows: Sequence[Mapping[str, Any]]) -> list[Document]:
    """These rows (`JOB_COLUMNS`) with their actions, as `view_job` shows them in JSON: without models, in a tenth of the time."""
    if not rows:
        return []
    of_jobs: dict[Any, list[Any]] = {}
    for action in await driver.fetch(_ACTIONS_FOR_DRIVER, [row["id"] for row in rows]):
        of_jobs.setdefault(action["job_id"], []).append(action)
    return [
        _job_document(
            row,
            # A deleted job has the actions that were deleted with it.
            [
                action_document(action)
                for action in of_jobs.get(row["id"], ())
                if action["deleted_at"] == row["deleted_at"]
            ],
        )
        for row in rows
    ]


def action_document(row: Mapping[str, Any]) -> Document:
    """A row (`ACTION_COLUMNS`) as `view_action` shows it in JSON."""
    document = dict(zip(_ACTION_FIELDS, row.values(), strict=False))
    document["id"] = from_uuid("act", document["id"])
    document["job_id"] = from_uuid("job", document["job_id"])
    if document["stop"] is not None:
        stop = document["stop"] = {**_NO_STOP, **document["stop"]}
        stop["address"] = {**_NO_ADDRESS, **stop["address"]}
    if document["outcome"] is not None:
        document["outcome"] = {**_NO_OUTCOME, **document["outcome"]}
    return {"object": "action", **document}


def _job_document(row: Mapping[str, Any], actions: list[Document]) -> Document:
    document = dict(zip(_JOB_FIELDS, row.values(), strict=False))
    document["id"] = from_uuid("job", document["id"])
    document["merchant_id"] = from_uuid("mer", document["merchant_id"])
    document["location_id"] = from_uuid("loc", document["location_id"])
    if document["distribution_location_id"] is not None:
        document["distribution_location_id"] = from_uuid("loc", document["distribution_location_id"])
    document["contact"] = {**_NO_CONTACT, **document["contact"]}
    document["address"] = {**_NO_ADDRESS, **document["address"]}
    document["actions"] = actions
    window, day, instants = document["time_window"], document["scheduled_date"], None
    if window is not None and day is not None:
        instants = window_instants(day, window["start"], window["end"], document["timezone"])
    return {
        "object": "job",
        **document,
        "allowed_transitions": allowed_transitions(document["status"]),
        "scheduled_window": None if instants is None else {"starts_at": instants[0], "ends_at": instants[1]},
    }


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


def _visible(
    rows: type[JobRow | ActionRow], tenant_id: Any, livemode: Any, merchant_id: Any | None
) -> list[ColumnElement[bool]]:
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
