"""Posts to the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger.rules import Account, Cause, entries_of
from shared.ids import known_uuid

# One statement: the database checks that what a statement writes balances.
_INSERT = text(
    """
    INSERT INTO ledger_entries (tenant_id, posting_id, cause, account, currency, amount, document, at)
    SELECT * FROM unnest(
        CAST(:tenants AS uuid[]), CAST(:postings AS uuid[]), CAST(:causes AS text[]), CAST(:accounts AS text[]),
        CAST(:currencies AS text[]), CAST(:amounts AS bigint[]), CAST(:documents AS text[]), CAST(:instants AS timestamptz[])
    )
    """
)


@dataclass(frozen=True, slots=True)
class Posting:
    """Amounts that are booked together and add up to zero."""

    tenant_id: str
    currency: str
    cause: Cause
    amounts: Mapping[Account, int]
    document: str
    """The id of what says so."""
    at: datetime
    """By the tenant's clock."""


async def post(session: AsyncSession, *postings: Posting) -> None:
    """Book these."""
    rows: list[tuple[UUID, UUID, Cause, Account, str, int, str, datetime]] = []
    for one in postings:
        tenant_id, posting_id = known_uuid(one.tenant_id), uuid4()
        rows += [
            (tenant_id, posting_id, one.cause, account, one.currency, amount, one.document, one.at)
            for account, amount in entries_of(one.amounts).items()
        ]
    if rows:
        names = ("tenants", "postings", "causes", "accounts", "currencies", "amounts", "documents", "instants")
        columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True))
        await session.execute(_INSERT, {name: list(column) for name, column in zip(names, columns, strict=True)})
