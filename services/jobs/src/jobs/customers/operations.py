"""Erase a customer's personal data from jobs, their actions and their history.

`_erase_job` says what is erased of a job, and `_PERSONAL_FIELDS` what is erased of its history.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, any_, false, func, literal, or_, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.customers.queries import has_token, phone_key
from jobs.customers.rules import CustomerIds
from jobs.customers.schemas import Erasure, ErasureIn
from jobs.job_store import ActionRow, JobRow, LockedJob, save, visible_actions_to, visible_to, with_actions
from shared import audit
from shared.access.principals import Caller
from shared.audit import Actor
from shared.ids import to_uuid
from shared.postgres.column_types import TypedId

ERASED_JOBS_MAX = 500
"""Jobs of one call."""
ERASED_ACTIONS_MAX = 10_000
"""Actions of the jobs of one call; a call always erases at least one job."""
ERASED_CHANGES_MAX = 5_000
"""Entries of history of one call, beside those of the erased jobs."""

_PHONE_PREFIX = search_index.token("p", "")
_KEPT_OF_ADDRESS = ("region", "country")
_PERSONAL_FIELDS = frozenset(
    {"contact", "address", "geo", "instructions", "short_description", "status_reason", "actions", "stop"}
)
"""Fields of jobs and actions whose values are erased from history."""

_COUNT_ACTIONS = text(
    """
    SELECT (SELECT count(*) FROM actions WHERE actions.job_id = chosen.job_id)
    FROM unnest(CAST(:job_ids AS uuid[])) WITH ORDINALITY AS chosen (job_id, place) ORDER BY chosen.place
    """
)
_ERASE_HISTORY = text(
    """
    UPDATE job_history
    SET changes = (changes - CAST(:personal AS text[])) #- '{outcome,from,note}' #- '{outcome,to,note}'
    WHERE job_id = ANY(CAST(:job_ids AS uuid[])) AND changes <> '{}'
    """
)
# The history of a job that now has another contact still contains its former contact.
_ERASE_FORMER_CONTACTS = text(
    """
    WITH entry AS (
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
    FROM entry
    WHERE job_history.job_id = entry.job_id AND job_history.sequence = entry.sequence AND job_history.occurred_at = entry.occurred_at
    RETURNING job_history.job_id
    """
)


async def erase(session: AsyncSession, actor: Actor, ids: CustomerIds, requested: ErasureIn) -> Erasure:
    """Erase the personal data of a bounded number of matching jobs, deleted ones included, and of their history.

    Numbers, tags, metadata, counts, dates and statuses stay, and the region and country of the address. Each job is saved and published
    as by any other change. Raises `Invalid` for an unknown customer.
    """
    caller = actor.caller
    key = ids.key_of(requested.customer_id, (caller.tenant_id, caller.livemode)) if requested.customer_id else None
    matches = _matches(requested, key)
    found = await _jobs_of(session, caller, requested, key)
    chosen = await _within_bounds(session, found)
    now, erased = datetime.now(UTC), []
    for deleted in (False, True):
        wanted = visible_to(caller, deleted=deleted).where(matches)
        for locked, deleted_actions in await _lock_all(session, caller, wanted, chosen, now):
            _erase_job(locked, deleted_actions)
            await save(session, caller, locked, "job.updated", redacted=_PERSONAL_FIELDS)
            erased.append(locked.row.id)
    values = {"job_ids": [to_uuid(job_id) for job_id in erased], "personal": sorted(_PERSONAL_FIELDS)}
    await session.execute(_ERASE_HISTORY, values)
    more_history = await _erase_former_contacts(session, caller, requested, key)
    # A found job can be changed or deleted before it is locked, so that it is skipped: `has_more` is true then.
    erasure = Erasure(jobs_erased=len(erased), has_more=more_history or len(erased) < len(found))
    # The names of what was given: nothing that tells who was erased may stay, and a customer's id can be decrypted.
    after = {"given": sorted(requested.model_fields_set), **erasure.model_dump(exclude={"object"})}
    audit.record(session, actor, "customer.erased", actor.tenant_id, after=after)
    return erasure


async def _erase_former_contacts(session: AsyncSession, caller: Caller, requested: ErasureIn, key: str | None) -> bool:
    """Erase former contacts from the history of jobs that have another contact now; returns whether there may be more."""
    phone = requested.phone or (key.removeprefix(_PHONE_PREFIX) if key and key.startswith(_PHONE_PREFIX) else None)
    contacts = [{"phone": phone}] * bool(phone) + [{"email": requested.email}] * bool(requested.email)
    if not contacts:
        return False
    # Always four conditions, so that there is one statement; with one contact two of them are equal.
    conditions = [json.dumps({side: contact}) for contact in (contacts[0], contacts[-1]) for side in ("from", "to")]
    values = {
        **dict(zip(("first", "second", "third", "fourth"), conditions, strict=True)),
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "personal": sorted(_PERSONAL_FIELDS),
        "rows_max": ERASED_CHANGES_MAX,
    }
    return len((await session.execute(_ERASE_FORMER_CONTACTS, values)).all()) == ERASED_CHANGES_MAX


async def _jobs_of(session: AsyncSession, caller: Caller, requested: ErasureIn, key: str | None) -> list[str]:
    """Ids of matching jobs: one more than a call erases, if there are so many."""
    job_id = col(JobRow.id)
    present = visible_to(caller).where(_matches(requested, key)).with_only_columns(job_id)
    statements = [visible_to(caller, deleted=True).where(_matches(requested, key)).with_only_columns(job_id)]
    # One statement per index. No index has the contacts of deleted jobs, but there are few: they are purged.
    if requested.email:
        statements.append(present.where(has_token("e", requested.email)))
    if keys := _keys(requested, key):
        statements.append(present.where(col(JobRow.customer_key).in_(keys)))
    found: set[str] = set()
    for statement in statements:
        found.update((await session.scalars(statement.limit(ERASED_JOBS_MAX + 1))).all())
    return sorted(found)[: ERASED_JOBS_MAX + 1]


def _matches(requested: ErasureIn, key: str | None) -> ColumnElement[bool]:
    email = col(JobRow.contact)["email"].astext
    # The token is folded, so it cannot tell apart two addresses that differ only in accents.
    same_email = func.lower(email) == func.lower(requested.email) if requested.email else false()
    return or_(col(JobRow.customer_key).in_(_keys(requested, key)), same_email)


def _keys(requested: ErasureIn, key: str | None) -> list[str]:
    return [one for one in (key, requested.phone and phone_key(requested.phone)) if one]


async def _within_bounds(session: AsyncSession, job_ids: Sequence[str]) -> list[str]:
    """The first of these jobs, as many as one transaction erases."""
    candidates = job_ids[:ERASED_JOBS_MAX]
    counts = await session.execute(_COUNT_ACTIONS, {"job_ids": [to_uuid(job_id) for job_id in candidates]})
    chosen: list[str] = []
    actions = 0
    for job_id, count in zip(candidates, counts.scalars(), strict=True):
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
) -> list[tuple[LockedJob, list[ActionRow]]]:
    """Lock the jobs that still match, in the order of their ids. Each comes with its actions that were deleted individually."""
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
        present = {action.id: action for action in actions[row.id] if action.deleted_at == row.deleted_at}
        deleted_actions = [action for action in actions[row.id] if action.id not in present]
        found.append((LockedJob(row, present, now, before), deleted_actions))
    return found


def _erase_job(locked: LockedJob, deleted_actions: Sequence[ActionRow]) -> None:
    row = locked.row
    row.contact = {}
    row.address = {name: row.address[name] for name in _KEPT_OF_ADDRESS if name in row.address}
    row.geo = row.instructions = row.short_description = row.status_reason = None
    row.erased_at = locked.now
    for action in [*locked.actions.values(), *deleted_actions]:
        _erase_action(action)


def _erase_action(action: ActionRow) -> None:
    action.stop = None
    if action.outcome is not None:
        action.outcome = {name: value for name, value in action.outcome.items() if name != "note"}
