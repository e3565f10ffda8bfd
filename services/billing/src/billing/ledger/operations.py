"""Posts to the ledger."""

from collections.abc import Mapping
from datetime import datetime
from uuid import uuid4

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger.rules import Account, Cause, entries_of
from billing.ledger.tables import LedgerEntryRow


async def post(
    session: AsyncSession,
    tenant_id: str,
    currency: str,
    cause: Cause,
    amounts: Mapping[Account, int],
    *,
    document: str,
    at: datetime,
) -> None:
    """Book these amounts, which must add up to zero; `document` is the id of what says so, `at` by the tenant's clock."""
    posting_id = uuid4()
    rows = [
        {
            "tenant_id": tenant_id,
            "posting_id": posting_id,
            "cause": cause,
            "account": account,
            "currency": currency,
            "amount": amount,
            "document": document,
            "at": at,
        }
        for account, amount in entries_of(amounts).items()
    ]
    if rows:
        # One statement: the database checks that what a statement writes balances.
        await session.execute(insert(LedgerEntryRow).values(rows))
