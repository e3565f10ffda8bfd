"""Reads the ledger."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.ledger.schemas import LedgerEntry
from billing.ledger.tables import LedgerEntryRow
from shared.api import Page, Paging, page


async def list_of_tenant(session: AsyncSession, tenant_id: str, request: Paging) -> Page[LedgerEntry]:
    """The entries of a tenant, oldest first."""
    statement = select(LedgerEntryRow).where(col(LedgerEntryRow.tenant_id) == tenant_id)
    return await page(session, statement, request, by=[col(LedgerEntryRow.id)], view=_view, descending=False)


def _view(row: LedgerEntryRow) -> LedgerEntry:
    return LedgerEntry(**row.model_dump(include=set(LedgerEntry.model_fields) - {"object"}))
