"""List customers. They have no table: a customer is what jobs with one `customer_key` have in common.

A page is read by skipping through the index from one key to the next, so its cost does not depend on the number of jobs.
"""

import base64
import binascii
import hashlib
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import CTE, ColumnElement, Integer, Row, Select, cast, func, literal, literal_column, select, true
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.customers.schemas import JOBS_COUNTED_MAX, Customer, CustomerFilters
from jobs.job_store import JobRow, visible_to
from jobs.search import as_tsquery, name_begins_with
from shared.access.principals import Caller
from shared.api import Page, Paging
from shared.errors import Violation, invalid
from shared.events.jobs import ContactState

_PREFIX = "cus_"
# Written into the statement: the plan of one with an unknown limit would be made for many rows.
_ONE = literal_column("1", Integer)
_COUNTED_MAX = literal_column(str(JOBS_COUNTED_MAX), Integer)


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
        raise invalid(violation)


# -- listing ---------------------------------------------------------------------------------------------------------------


async def list_customers(
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
    data = [_view(row, ids.id_of(caller, row.customer_key)) for row in shown]
    return Page(data=data, has_more=has_more, next_cursor=cursor)


def page_statement(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """The first `limit` customers after a key: one probe of the index finds the next key, three more what is shown of it."""
    narrowed = any((filters.phone, filters.email, filters.name))
    keys = _matching_keys(caller, filters, after, limit) if narrowed else _all_keys(caller, after, limit)
    key = keys.c.customer_key
    jobs_of = visible_to(caller).where(col(JobRow.customer_key) == key)
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
    return visible_to(caller).with_only_columns(key).where(key > after).order_by(key).limit(_ONE)


def _matching_keys(caller: Caller, filters: CustomerFilters, after: str, limit: int) -> CTE:
    """The next keys among the jobs that the filters find: this costs as much as there are such jobs."""
    key = col(JobRow.customer_key)
    found = visible_to(caller).with_only_columns(key).where(key > after)
    if filters.phone:
        found = found.where(key == phone_key(filters.phone))
    if filters.email:
        found = found.where(has_token("e", filters.email))
    if filters.name:
        found = found.where(name_begins_with(filters.name))
    # Found first: or else the order of keys might be walked until enough of them match.
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
    return search_index.token("p", phone)


def has_token(kind: search_index.TokenKind, value: str) -> ColumnElement[bool]:
    return col(JobRow.terms).op("@@", is_comparison=True)(
        cast(as_tsquery([[search_index.token(kind, value)]]), TSQUERY)
    )


def _bound_to(caller: Caller) -> list[bytes]:
    return [caller.tenant_id.encode(), b"live" if caller.livemode else b"test"]
