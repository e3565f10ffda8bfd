"""Posts to the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger.rules import LISTED, Account, Cause, amounts_of
from shared.ids import known_uuid
from shared.postgres.many_rows import arguments, given

_GIVEN = [
    given(name, place, sql_type)
    for place, (name, sql_type) in enumerate(
        [
            ("posting_id", "uuid"),
            ("tenant_id", "uuid"),
            ("cause", "text"),
            ("currency", "text"),
            ("document", "text"),
            ("at", "timestamptz"),
            *((account, "bigint") for account in LISTED),
        ]
    )
]
_ARRAYS, (_ID, _TENANT, _CAUSE, _CURRENCY, _DOCUMENT, _AT, *_AMOUNTS) = zip(*_GIVEN, strict=True)
_ENTRIES = ", ".join(
    f"({place}, '{account}', {amount})" for place, (account, amount) in enumerate(zip(LISTED, _AMOUNTS, strict=True))
)
# With one statement: the database checks that what a statement writes balances.
_POST = text(
    f"""
    INSERT INTO ledger_entries (posting_id, tenant_id, cause, currency, document, at, account, amount)
    SELECT {_ID}, {_TENANT}, {_CAUSE}, {_CURRENCY}, {_DOCUMENT}, {_AT}, account, amount
    FROM unnest({", ".join(_ARRAYS)}) WITH ORDINALITY
        AS given (posting_id, tenant_id, cause, currency, document, at, {", ".join(LISTED)}, position)
    CROSS JOIN LATERAL (VALUES {_ENTRIES}) AS entry (place, account, amount)
    WHERE amount <> 0 ORDER BY position, place
    """  # noqa: S608
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
    if not postings:
        return
    rows = [
        (
            uuid4(),
            known_uuid(one.tenant_id),
            one.cause,
            one.currency,
            one.document,
            one.at,
            *amounts_of(one.amounts),
        )
        for one in postings
    ]
    await session.execute(_POST, arguments(zip(*rows, strict=True)))
