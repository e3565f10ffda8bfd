"""Reads the ledger."""

from collections.abc import Mapping, Sequence

from sqlalchemy import any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.ledger.schemas import LedgerEntry
from billing.ledger.tables import LedgerEntryRow
from shared.api import Page, Paging, page
from shared.postgres.column_types import TypedId


async def list_of_tenant(session: AsyncSession, tenant_id: str, request: Paging) -> Page[LedgerEntry]:
    """The entries of a tenant, oldest first."""
    statement = select(LedgerEntryRow).where(col(LedgerEntryRow.tenant_id) == tenant_id)
    return await page(session, statement, request, by=[col(LedgerEntryRow.id)], view=_view, descending=False)


async def credits_of(session: AsyncSession, tenant_ids: Sequence[str]) -> Mapping[tuple[str, str], int]:
    """What these tenants have paid and do not owe, by tenant and currency; those without such a credit are left out."""
    of = (col(LedgerEntryRow.tenant_id), col(LedgerEntryRow.currency))
    wanted = literal(list(tenant_ids), ARRAY(TypedId("ten")))
    statement = (
        select(*of, (-func.sum(col(LedgerEntryRow.amount))).label("credit"))
        .where(col(LedgerEntryRow.account) == "customer_credit", col(LedgerEntryRow.tenant_id) == any_(wanted))
        .group_by(*of)
    )
    return {
        (row.tenant_id, row.currency): int(row.credit) for row in await session.execute(statement) if row.credit > 0
    }


def _view(row: LedgerEntryRow) -> LedgerEntry:
    return LedgerEntry(**row.model_dump(include=set(LedgerEntry.model_fields) - {"object"}))
