"""Customers: whom the jobs visit. They have no table: a customer is what jobs with one `customer_key` have in common.

A page is read by skipping through the index from one key to the next, so its cost does not depend on how many jobs there are. Erasing
goes over the jobs themselves, so that a customer of whom no job tells any more is gone.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    Select,
    any_,
    cast,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.changes import Held, record
from jobs.conditions import as_tsquery, begins_a_name
from jobs.domain import terms
from jobs.models.customers import JOBS_COUNTED_MAX, Customer, CustomerFilters, Erasure, ErasureIn
from jobs.models.tables import ActionRow, JobRow
from jobs.rows import visible, visible_actions, with_actions
from shared.access.authentication import Access
from shared.access.principals import Caller, Principal
from shared.api import Page, Paging
from shared.errors import Invalid, Violation, WaybillError
from shared.events.jobs import ContactState
from shared.ids import to_uuid
from shared.postgres.tables import TypedId

ERASED_JOBS_MAX = 500
ERASED_ACTIONS_MAX = 10_000
"""Of all the jobs in one call together, but always one job."""

FORGOTTEN_CHANGES_MAX = 5_000
"""Lines of history in one call, beside those of the jobs themselves."""

_PHONE_KIND = terms.term("p", "")
_PREFIX = "cus_"
# Written into the statement: the plan of one with an unknown limit would be made for many rows.
_ONE = literal_column("1", Integer)
_COUNTED_MAX = literal_column(str(JOBS_COUNTED_MAX), Integer)

_KEPT_OF_ADDRESS = ("region", "country")
_PERSONAL = frozenset(
    {"contact", "address", "geo", "instructions", "short_description", "status_reason", "actions", "stop"}
)
"""Fields, of a job or of an action, whose former values history must not tell after an erasure."""

_COUNT_ACTIONS = text(
    """
    SELECT (SELECT count(*) FROM actions WHERE actions.job_id = asked.job_id)
    FROM unnest(CAST(:job_ids AS uuid[])) WITH ORDINALITY AS asked (job_id, place) ORDER BY asked.place
    """
)
_FORGET_HISTORY = text(
    """
    UPDATE job_history
    SET changes = (changes - CAST(:personal AS text[])) #- '{outcome,from,note}' #- '{outcome,to,note}'
    WHERE job_id = ANY(CAST(:job_ids AS uuid[])) AND changes <> '{}'
    """
)
# A job that visits somebody else by now may still tell in its history whom it was to visit before.
_FORGET_FORMER = text(
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


class CustomerIds:
    """Ids of customers: a key, encrypted so that equal keys have equal ids. Nobody reads a phone number out of a URL."""

    def __init__(self, secret: bytes):
        self._cipher = AESSIV(hashlib.blake2b(secret, digest_size=64, person=b"customer-ids").digest())

    def id_of(self, caller: Caller, key: str) -> str:
        """The id under which the caller knows the customer with this key."""
        sealed = self._cipher.encrypt(key.encode(), _bound_to(caller))
        return _PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def key_of(self, caller: Caller, customer_id: str) -> str:
        """The key behind an id. Raises `Invalid` for one that was not made for this tenant and mode."""
        encoded = customer_id.removeprefix(_PREFIX)
        try:
            sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            key = self._cipher.decrypt(sealed, _bound_to(caller)).decode()
            if self.id_of(caller, key) == customer_id:
                return key
        except (binascii.Error, ValueError, InvalidTag):
            pass
        violation = Violation("/customer_id", "customer_id_form", "not the id of a customer of this account")
        raise Invalid("the request is not valid: see errors", violation)


# -- listing ---------------------------------------------------------------------------------------------------------------


async def listing(
    session: AsyncSession, caller: Caller, ids: CustomerIds, filters: CustomerFilters, paging: Paging
) -> Page[Customer]:
    """A page of customers, in the order of their keys."""
    made_under = [caller.livemode, filters.model_dump(mode="json")]
    position = paging.position(made_under)
    after = "" if position is None else ids.key_of(caller, position[0])
    found = (await session.execute(page_statement(caller, filters, after, paging.limit + 1))).all()
    shown, has_more = found[: paging.limit], len(found) > paging.limit
    # The position is an id, for a cursor is signed but not sealed, and stands in a URL.
    cursor = paging.cursor_after([ids.id_of(caller, shown[-1].customer_key)], made_under) if has_more else None
    data = [_customer(row, ids.id_of(caller, row.customer_key)) for row in shown]
    return Page(data=data, has_more=has_more, next_cursor=cursor)


def page_statement(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """The first `limit` customers after a key: one probe of the index finds the next key, three more what is shown of it."""
    narrowed = any((filters.phone, filters.email, filters.name))
    keys = _matching_keys(caller, filters, after, limit) if narrowed else _all_keys(caller, after, limit)
    key = keys.c.customer_key
    jobs_of = visible(caller).where(col(JobRow.customer_key) == key)
    created_at, job_id = col(JobRow.created_at), col(JobRow.id)
    last = jobs_of.with_only_columns(col(JobRow.contact), created_at).order_by(created_at.desc(), job_id.desc())
    first = jobs_of.with_only_columns(created_at).order_by(created_at, job_id)
    counted = jobs_of.with_only_columns(job_id).limit(_COUNTED_MAX).correlate(keys).subquery()
    newest, oldest = last.limit(_ONE).lateral("newest"), first.limit(_ONE).lateral("oldest")
    count = select(func.count().label("jobs_count")).select_from(counted).lateral("count")
    return (
        select(
            key,
            newest.c.contact,
            newest.c.created_at.label("last_job_at"),
            oldest.c.created_at.label("first_job_at"),
            count.c.jobs_count,
        )
        .select_from(keys.join(newest, true()).join(oldest, true()).join(count, true()))
        .order_by(key)
    )


def _all_keys(caller: Caller, after: str, limit: int) -> CTE:
    """The next keys, each found by one probe for what is larger than the one before."""
    first = (
        _next_key(caller, literal(after)).add_columns(literal(1, Integer).label("place")).cte("keys", recursive=True)
    )
    following = _next_key(caller, first.c.customer_key).lateral("following")
    others = select(following.c.customer_key, first.c.place + 1).select_from(first.join(following, true()))
    return first.union_all(others.where(first.c.place < limit))


def _next_key(caller: Caller, after: ColumnElement[str]) -> Select[*tuple[Any, ...]]:
    key = col(JobRow.customer_key)
    return visible(caller).with_only_columns(key).where(key > after).order_by(key).limit(_ONE)


def _matching_keys(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> CTE:
    """The next keys among the jobs that the filters find: this costs as much as there are such jobs."""
    key = col(JobRow.customer_key)
    found = visible(caller).with_only_columns(key).where(key > after)
    if filters.phone:
        found = found.where(key == _phone_key(filters.phone))
    if filters.email:
        found = found.where(_filed_under("e", filters.email))
    if filters.name:
        found = found.where(begins_a_name(filters.name))
    # Found first: or else the order of keys might be walked until enough of them match.
    matching = found.cte("matching").prefix_with("MATERIALIZED")
    return select(matching.c.customer_key).distinct().order_by(matching.c.customer_key).limit(limit).cte("keys")


def _customer(row: Row[*tuple[Any, ...]], customer_id: str) -> Customer:
    return Customer(
        id=customer_id,
        contact=ContactState.model_validate(row.contact),
        jobs_count=row.jobs_count,
        first_job_at=row.first_job_at,
        last_job_at=row.last_job_at,
    )


# -- erasing ---------------------------------------------------------------------------------------------------------------


async def erase(session: AsyncSession, access: Access, caller: Caller, ids: CustomerIds, asked: ErasureIn) -> Erasure:
    """Erase the personal data of a bounded number of jobs that match, deleted ones included, and of their history.

    What stays is the order's own: its numbers, tags, metadata, counts, dates and statuses, and of the address region and country.
    Each job is changed and published like by any other change. Raises `Invalid` for an unknown customer.
    """
    (principal,) = await access.recheck(session, [caller])
    if isinstance(principal, WaybillError):
        raise principal
    key = ids.key_of(caller, asked.customer_id) if asked.customer_id else None
    meant = _is_meant(asked, key)
    found = await _jobs_of(session, caller, asked, key)
    chosen = await _within_bounds(session, found)
    now, erased = datetime.now(UTC), []
    for deleted in (False, True):
        wanted = visible(caller, deleted=deleted).where(meant)
        for held in await _hold_all(session, caller, principal, wanted, chosen, now):
            _forget(held)
            await record(session, caller, held, "job.updated", unkept=_PERSONAL)
            erased.append(held.row.id)
    values = {"job_ids": [to_uuid(job_id) for job_id in erased], "personal": sorted(_PERSONAL)}
    await session.execute(_FORGET_HISTORY, values)
    more_told = await _forget_former(session, caller, asked, key)
    # A job that was changed while it was waited for may not be meant any more, or be deleted: the next call finds out.
    return Erasure(jobs_erased=len(erased), has_more=more_told or len(erased) < len(found))


async def _forget_former(session: AsyncSession, caller: Caller, asked: ErasureIn, key: str | None) -> bool:
    """Erase what the history of other jobs tells of a contact that they had; whether there may be more of it."""
    phone = asked.phone or (key.removeprefix(_PHONE_KIND) if key and key.startswith(_PHONE_KIND) else None)
    contacts = [{"phone": phone}] * bool(phone) + [{"email": asked.email}] * bool(asked.email)
    if not contacts:
        return False
    # Four places, so that each is a look-up of its own; where one thing is asked for, it stands twice.
    told = [json.dumps({side: contact}) for contact in (contacts[0], contacts[-1]) for side in ("from", "to")]
    values = {
        **dict(zip(("first", "second", "third", "fourth"), told, strict=True)),
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "personal": sorted(_PERSONAL),
        "rows_max": FORGOTTEN_CHANGES_MAX,
    }
    return len((await session.execute(_FORGET_FORMER, values)).all()) == FORGOTTEN_CHANGES_MAX


async def _jobs_of(session: AsyncSession, caller: Caller, asked: ErasureIn, key: str | None) -> list[str]:
    """Ids of jobs that are meant, some more than one call erases if there are."""
    job_id = col(JobRow.id)
    kept = visible(caller).where(_is_meant(asked, key)).with_only_columns(job_id)
    questions = [visible(caller, deleted=True).where(_is_meant(asked, key)).with_only_columns(job_id)]
    # Each has an index of its own; deleted jobs have none, and are not kept for long.
    if asked.email:
        questions.append(kept.where(_filed_under("e", asked.email)))
    if keys := _keys(asked, key):
        questions.append(kept.where(col(JobRow.customer_key).in_(keys)))
    found: set[str] = set()
    for question in questions:
        found.update((await session.scalars(question.limit(ERASED_JOBS_MAX + 1))).all())
    return sorted(found)[: ERASED_JOBS_MAX + 1]


def _is_meant(asked: ErasureIn, key: str | None) -> ColumnElement[bool]:
    email = col(JobRow.contact)["email"].astext
    # Folding also drops accents, by which two people's addresses may differ.
    same_email = func.lower(email) == func.lower(asked.email) if asked.email else false()
    return or_(col(JobRow.customer_key).in_(_keys(asked, key)), same_email)


def _keys(asked: ErasureIn, key: str | None) -> list[str]:
    return [one for one in (key, asked.phone and _phone_key(asked.phone)) if one]


def _phone_key(phone: str) -> str:
    return terms.term("p", phone)


def _filed_under(kind: terms.Kind, value: str) -> ColumnElement[bool]:
    return col(JobRow.terms).op("@@", is_comparison=True)(cast(as_tsquery([[terms.term(kind, value)]]), TSQUERY))


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


async def _hold_all(
    session: AsyncSession,
    caller: Caller,
    principal: Principal,
    wanted: Select[JobRow],
    job_ids: Sequence[str],
    now: datetime,
) -> list[Held]:
    """Those of the jobs that are wanted, locked in one order, to be altered; their actions that were deleted alone are altered here."""
    job_id = col(JobRow.id)
    chosen = any_(literal(job_ids, ARRAY(TypedId("job"))))
    rows = (await session.scalars(wanted.where(job_id == chosen).order_by(job_id).with_for_update())).all()
    actions: dict[str, list[ActionRow]] = {row.id: [] for row in rows}
    for deleted in (False, True):
        of_jobs = visible_actions(caller, deleted=deleted).where(col(ActionRow.job_id) == chosen)
        for action in await session.scalars(of_jobs):
            actions.get(action.job_id, []).append(action)
    found = []
    for row, before in zip(rows, await with_actions(session, rows), strict=True):
        its_own = {action.id: action for action in actions[row.id] if action.deleted_at == row.deleted_at}
        for action in actions[row.id]:
            if action.id not in its_own:
                _forget_action(action)
        found.append(Held(row, its_own, principal, now, before))
    return found


def _forget(held: Held) -> None:
    row = held.row
    row.contact = {}
    row.address = {name: row.address[name] for name in _KEPT_OF_ADDRESS if name in row.address}
    row.geo = row.instructions = row.short_description = row.status_reason = None
    row.erased_at = held.now
    for action in held.actions.values():
        _forget_action(action)


def _forget_action(action: ActionRow) -> None:
    action.stop = None
    if action.outcome is not None:
        action.outcome = {name: value for name, value in action.outcome.items() if name != "note"}


def _bound_to(caller: Caller) -> list[bytes]:
    return [caller.tenant_id.encode(), b"live" if caller.livemode else b"test"]
