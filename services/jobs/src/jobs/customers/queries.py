"""List customers. They have no table: jobs with the same `customer_key` have the same customer.

A page is read by index probes from one key to the next larger one, so its cost does not depend on the number of jobs.
"""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Integer, Row, Select, cast, func, literal, literal_column, select, true
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.customers.rules import CustomerIds
from jobs.customers.schemas import JOBS_COUNTED_MAX, Customer, CustomerFilters
from jobs.job_store import JobRow, visible_to
from jobs.search import as_tsquery, name_begins_with
from shared.access.principals import Caller
from shared.api import Page, Paging, page_of
from shared.events.jobs import ContactState

# Literals, because PostgreSQL plans a limit that is a parameter for many rows.
_ONE = literal_column("1", Integer)
_COUNTED_MAX = literal_column(str(JOBS_COUNTED_MAX), Integer)


async def list_customers(
    session: AsyncSession, caller: Caller, ids: CustomerIds, filters: CustomerFilters, paging: Paging
) -> Page[Customer]:
    """A page of customers, in the order of their keys."""
    shaped_by = [caller.livemode, filters.model_dump(mode="json")]
    position = paging.position(shaped_by)
    owner = caller.tenant_id, caller.livemode
    after = "" if position is None else ids.key_of(position[0], owner)
    found = (await session.execute(page_statement(caller, filters, after, paging.limit + 1))).all()
    return page_of(
        found,
        paging,
        view=lambda row: _view(row, ids.id_of(row.customer_key, owner)),
        # An id and not a key: cursors are signed but not encrypted.
        position=lambda row: [ids.id_of(row.customer_key, owner)],
        filters=shaped_by,
    )


def page_statement(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """The first `limit` customers after a key. Per customer, one index probe finds the key and three more read what is shown."""
    filtered = any((filters.phone, filters.email, filters.name))
    keys = _matching_keys(caller, filters, after, limit) if filtered else _all_keys(caller, after, limit)
    key = keys.c.customer_key
    jobs_of = visible_to(caller).where(col(JobRow.customer_key) == key)
    created_at, job_id = col(JobRow.created_at), col(JobRow.id)
    by_newest = jobs_of.with_only_columns(col(JobRow.contact), created_at).order_by(created_at.desc(), job_id.desc())
    by_oldest = jobs_of.with_only_columns(created_at).order_by(created_at, job_id)
    counted = jobs_of.with_only_columns(job_id).limit(_COUNTED_MAX).correlate(keys).subquery()
    newest, oldest = by_newest.limit(_ONE).lateral("newest"), by_oldest.limit(_ONE).lateral("oldest")
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
    """The next keys: a recursive query, each step of which probes the index for the next larger key."""
    first = (
        _next_key(caller, literal(after)).add_columns(literal(1, Integer).label("place")).cte("keys", recursive=True)
    )
    following = _next_key(caller, first.c.customer_key).lateral("following")
    others = select(following.c.customer_key, first.c.place + 1).select_from(first.join(following, true()))
    return first.union_all(others.where(first.c.place < limit))


def _next_key(caller: Caller, after: ColumnElement[str]) -> Select[*tuple[Any, ...]]:
    key = col(JobRow.customer_key)
    return visible_to(caller).with_only_columns(key).where(key > after).order_by(key).limit(_ONE)


def _matching_keys(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> CTE:
    """The next keys of the jobs that match the filters; the cost grows with the number of such jobs."""
    key = col(JobRow.customer_key)
    found = visible_to(caller).with_only_columns(key).where(key > after)
    if filters.phone:
        found = found.where(key == phone_key(filters.phone))
    if filters.email:
        found = found.where(has_token("e", filters.email))
    if filters.name:
        found = found.where(name_begins_with(filters.name).clause())
    # Materialized, so that PostgreSQL does not scan all keys in order until enough of them match.
    matching = found.cte("matching").prefix_with("MATERIALIZED")
    return select(matching.c.customer_key).distinct().order_by(matching.c.customer_key).limit(limit).cte("keys")


def _view(row: Row[*tuple[Any, ...]], customer_id: str) -> Customer:
    return Customer(
        id=customer_id,
        contact=ContactState.model_validate(row.contact),
        jobs_count=row.jobs_count,
        first_job_at=row.first_job_at,
        last_job_at=row.last_job_at,
    )


def phone_key(phone: str) -> str:
    """The key of a customer with this phone number."""
    return search_index.token("p", phone)


def has_token(kind: search_index.TokenKind, value: str) -> ColumnElement[bool]:
    """The condition that a job has the token of this value."""
    return col(JobRow.terms).op("@@", is_comparison=True)(
        cast(as_tsquery([[search_index.token(kind, value)]]), TSQUERY)
    )
