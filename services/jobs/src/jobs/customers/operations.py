"""Erase a customer's personal data from jobs, their actions and their history."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, any_, false, func, literal, or_, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.customers.queries import CustomerIds, has_token, phone_key
from jobs.customers.schemas import Erasure, ErasureIn
from jobs.job_store import ActionRow, JobRow, LockedJob, save, visible_actions_to, visible_to, with_actions
from shared.access.principals import Caller
from shared.ids import to_uuid
from shared.postgres.column_types import TypedId

ERASED_JOBS_MAX = 500
ERASED_ACTIONS_MAX = 10_000
"""Of all the jobs in one call together, but always one job."""

ERASED_CHANGES_MAX = 5_000
"""Lines of history in one call, beside those of the jobs themselves."""

_PHONE_PREFIX = search_index.token("p", "")

_KEPT_OF_ADDRESS = ("region", "country")
_PERSONAL_FIELDS = frozenset(
    {"contact", "address", "geo", "instructions", "short_description", "status_reason", "actions", "stop"}
)
"""Fields, of a job or of an action, whose former values history must not tell after an erasure."""

_COUNT_ACTIONS = text(
    """
    SELECT (SELECT count(*) FROM actions WHERE actions.job_id = asked.job_id)
    FROM unnest(CAST(:job_ids AS uuid[])) WITH ORDINALITY AS asked (job_id, place) ORDER BY asked.place
    """
)
_ERASE_HISTORY = text(
    """
    UPDATE job_history
    SET changes = (changes - CAST(:personal AS text[])) #- '{outcome,from,note}' #- '{outcome,to,note}'
    WHERE job_id = ANY(CAST(:job_ids AS uuid[])) AND changes <> '{}'
    """
)
# A job that visits somebody else by now may still tell in its history whom it was to visit before.
_ERASE_FORMER_CONTACTS = text(
    """
    WITH told AS (
        SELECT job_history.job_id, job_history.sequence, job_history.occurred_at
        FROM job_history JOIN jobs ON jobs.id = job_history.job_id
        WHERE jobs.tenant_id = :tenant_id AND jobs.livemode = :livemode AND job_history.changes ? 'contact'
            AND (
                job_history.changes -> 'contact' @> CAST(:first AS jsonb) OR job_history.changes -> 'contact' @> CAST(:second AS jsonb)
                OR job_history.changes -> 'contact' @> CAST(:third AS jsonb)
                OR job_history.changes -> 'contact' @> CAST(:fourth AS jsonb)
            )
        LIMIT :rows_max
    )
    UPDATE job_history
    SET changes = (changes - CAST(:personal AS text[])) #- '{outcome,from,note}' #- '{outcome,to,note}'
    FROM told
    WHERE job_history.job_id = told.job_id AND job_history.sequence = told.sequence AND job_history.occurred_at = told.occurred_at
    RETURNING job_history.job_id
    """
)


# -- erasing ---------------------------------------------------------------------------------------------------------------


async def erase(session: AsyncSession, caller: Caller, ids: CustomerIds, asked: ErasureIn) -> Erasure:
    """Erase the personal data of a bounded number of jobs that match, deleted ones included, and of their history.

    What stays is the order's own: its numbers, tags, metadata, counts, dates and statuses, and of the address region and country.
    Each job is changed and published like by any other change. Raises `Invalid` for an unknown customer.
    """
    key = ids.key_of(caller, asked.customer_id) if asked.customer_id else None
    meant = _matches(asked, key)
    found = await _jobs_of(session, caller, asked, key)
    chosen = await _within_bounds(session, found)
    now, erased = datetime.now(UTC), []
    for deleted in (False, True):
        wanted = visible_to(caller, deleted=deleted).where(meant)
        for locked in await _lock_all(session, caller, wanted, chosen, now):
            _erase_job(locked)
            await save(session, caller, locked, "job.updated", redacted=_PERSONAL_FIELDS)
            erased.append(locked.row.id)
    values = {"job_ids": [to_uuid(job_id) for job_id in erased], "personal": sorted(_PERSONAL_FIELDS)}
    await session.execute(_ERASE_HISTORY, values)
    more_told = await _erase_former_contacts(session, caller, asked, key)
    # A job that was changed while it was waited for may not be meant any more, or be deleted: the next call finds out.
    return Erasure(jobs_erased=len(erased), has_more=more_told or len(erased) < len(found))


async def _erase_former_contacts(session: AsyncSession, caller: Caller, asked: ErasureIn, key: str | None) -> bool:
    """Erase what the history of other jobs tells of a contact that they had; whether there may be more of it."""
    phone = asked.phone or (key.removeprefix(_PHONE_PREFIX) if key and key.startswith(_PHONE_PREFIX) else None)
    contacts = [{"phone": phone}] * bool(phone) + [{"email": asked.email}] * bool(asked.email)
    if not contacts:
        return False
    # Four places, so that each is a look-up of its own; where one thing is asked for, it stands twice.
    told = [json.dumps({side: contact}) for contact in (contacts[0], contacts[-1]) for side in ("from", "to")]
    values = {
        **dict(zip(("first", "second", "third", "fourth"), told, strict=True)),
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "personal": sorted(_PERSONAL_FIELDS),
        "rows_max": ERASED_CHANGES_MAX,
    }
    return len((await session.execute(_ERASE_FORMER_CONTACTS, values)).all()) == ERASED_CHANGES_MAX


async def _jobs_of(session: AsyncSession, caller: Caller, asked: ErasureIn, key: str | None) -> list[str]:
    """Ids of jobs that are meant, some more than one call erases if there are."""
    job_id = col(JobRow.id)
    kept = visible_to(caller).where(_matches(asked, key)).with_only_columns(job_id)
    questions = [visible_to(caller, deleted=True).where(_matches(asked, key)).with_only_columns(job_id)]
    # Each has an index of its own; deleted jobs have none, and are not kept for long.
    if asked.email:
        questions.append(kept.where(has_token("e", asked.email)))
    if keys := _keys(asked, key):
        questions.append(kept.where(col(JobRow.customer_key).in_(keys)))
    found: set[str] = set()
    for query in questions:
        found.update((await session.scalars(query.limit(ERASED_JOBS_MAX + 1))).all())
    return sorted(found)[: ERASED_JOBS_MAX + 1]


def _matches(asked: ErasureIn, key: str | None) -> ColumnElement[bool]:
    email = col(JobRow.contact)["email"].astext
    # Folding also drops accents, by which two people's addresses may differ.
    same_email = func.lower(email) == func.lower(asked.email) if asked.email else false()
    return or_(col(JobRow.customer_key).in_(_keys(asked, key)), same_email)


def _keys(asked: ErasureIn, key: str | None) -> list[str]:
    return [one for one in (key, asked.phone and phone_key(asked.phone)) if one]


async def _within_bounds(session: AsyncSession, job_ids: Sequence[str]) -> list[str]:
    """The first of these jobs, so many as are erased in one transaction."""
    asked = job_ids[:ERASED_JOBS_MAX]
    counts = await session.execute(_COUNT_ACTIONS, {"job_ids": [to_uuid(job_id) for job_id in asked]})
    chosen: list[str] = []
    actions = 0
    for job_id, count in zip(asked, counts.scalars(), strict=True):
        actions += count
        if chosen and actions > ERASED_ACTIONS_MAX:
            break
        chosen.append(job_id)
    return chosen


async def _lock_all(
    session: AsyncSession,
    caller: Caller,
    wanted: Select[JobRow],
    job_ids: Sequence[str],
    now: datetime,
) -> list[LockedJob]:
    """Those of the jobs that are wanted, locked in one order, to be altered; their actions that were deleted alone are altered here."""
    job_id = col(JobRow.id)
    chosen = any_(literal(job_ids, ARRAY(TypedId("job"))))
    rows = (await session.scalars(wanted.where(job_id == chosen).order_by(job_id).with_for_update())).all()
    actions: dict[str, list[ActionRow]] = {row.id: [] for row in rows}
    for deleted in (False, True):
        of_jobs = visible_actions_to(caller, deleted=deleted).where(col(ActionRow.job_id) == chosen)
        for action in await session.scalars(of_jobs):
            actions.get(action.job_id, []).append(action)
    found = []
    for row, before in zip(rows, await with_actions(session, rows), strict=True):
        its_own = {action.id: action for action in actions[row.id] if action.deleted_at == row.deleted_at}
        for action in actions[row.id]:
            if action.id not in its_own:
                _erase_action(action)
        found.append(LockedJob(row, its_own, now, before))
    return found


def _erase_job(locked: LockedJob) -> None:
    row = locked.row
    row.contact = {}
    row.address = {name: row.address[name] for name in _KEPT_OF_ADDRESS if name in row.address}
    row.geo = row.instructions = row.short_description = row.status_reason = None
    row.erased_at = locked.now
    for action in locked.actions.values():
        _erase_action(action)


def _erase_action(action: ActionRow) -> None:
    action.stop = None
    if action.outcome is not None:
        action.outcome = {name: value for name, value in action.outcome.items() if name != "note"}
