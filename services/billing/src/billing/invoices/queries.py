"""Reads invoices, and locks them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.invoices.rules import InvoiceNotFound, numbered
from billing.invoices.schemas import CreditNote, Invoice, InvoiceLine, InvoiceTax, Party
from billing.invoices.tables import CreditNoteRow, InvoiceRow
from shared.api import ANY_VERSION, IfMatch, Page, Paging, page
from shared.events.billing import InvoiceState


async def list_of_tenant(session: AsyncSession, tenant_id: str, request: Paging) -> Page[Invoice]:
    """The tenant's invoices, newest first."""
    statement = select(InvoiceRow).where(col(InvoiceRow.tenant_id) == tenant_id)
    found = await page(session, statement, request, by=[col(InvoiceRow.id)], view=lambda row: row)
    notes = await _credit_notes(session, [row.id for row in found.data])
    shown = [view(row, notes.get(row.id)) for row in found.data]
    return Page(data=shown, has_more=found.has_more, next_cursor=found.next_cursor)


async def get(session: AsyncSession, tenant_id: str, invoice_id: str) -> Invoice:
    """One of the tenant's invoices. Raises `InvoiceNotFound`."""
    row = await _one(session, tenant_id, invoice_id)
    return view(row, (await _credit_notes(session, [row.id])).get(row.id))


async def lock(session: AsyncSession, tenant_id: str, invoice_id: str, if_match: IfMatch = ANY_VERSION) -> InvoiceRow:
    """The row of one of the tenant's invoices, locked. Raises `InvoiceNotFound`, `PreconditionFailed`."""
    row = await _one(session, tenant_id, invoice_id, lock=True)
    if_match.check(row.version)
    return row


async def get_open(session: AsyncSession, tenant_id: str) -> InvoiceRow | None:
    """The tenant's open invoice, locked; there is at most one."""
    return (await get_all_open(session, [tenant_id])).get(tenant_id)


async def get_all_open(session: AsyncSession, tenant_ids: Sequence[str]) -> Mapping[str, InvoiceRow]:
    """The open invoices of these tenants, locked, by tenant."""
    statement = (
        select(InvoiceRow)
        .where(col(InvoiceRow.tenant_id).in_(tenant_ids), col(InvoiceRow.status) == "open")
        .order_by(col(InvoiceRow.tenant_id))
    )
    rows = (await session.execute(statement.with_for_update())).scalars()
    return {row.tenant_id: row for row in rows}


def view(row: InvoiceRow, note: CreditNoteRow | None = None) -> Invoice:
    """An invoice as the API shows it."""
    return Invoice(
        **row.model_dump(exclude={"number", "snapshot"}),
        number=numbered("invoice", row.number),
        amount_due=_amount_due(row),
        customer=Party.model_validate(row.snapshot["customer"]),
        lines=[InvoiceLine.model_validate(line) for line in row.snapshot["lines"]],
        taxes=[InvoiceTax.model_validate(tax) for tax in row.snapshot["taxes"]],
        credit_note=None
        if note is None
        else CreditNote(
            id=note.id,
            number=numbered("credit_note", note.number),
            amount=note.amount,
            reason=note.reason,
            created_at=note.created_at,
        ),
    )


def state_of(row: InvoiceRow) -> InvoiceState:
    """An invoice as events show it."""
    return InvoiceState(
        invoice_id=row.id,
        tenant_id=row.tenant_id,
        number=numbered("invoice", row.number),
        status=row.status,
        currency=row.currency,
        total=row.total,
        amount_due=_amount_due(row),
        plan=row.plan,
        period_start=row.period_start,
        period_end=row.period_end,
        finalized_at=row.finalized_at,
        due_at=row.due_at,
    )


def _amount_due(row: InvoiceRow) -> int:
    return row.total - row.credit_applied if row.status == "open" else 0


async def _one(session: AsyncSession, tenant_id: str, invoice_id: str, *, lock: bool = False) -> InvoiceRow:
    statement = select(InvoiceRow).where(col(InvoiceRow.id) == invoice_id, col(InvoiceRow.tenant_id) == tenant_id)
    row = (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()
    if row is None:
        raise InvoiceNotFound
    return row


async def _credit_notes(session: AsyncSession, invoice_ids: Sequence[str]) -> Mapping[str, CreditNoteRow]:
    statement = select(CreditNoteRow).where(col(CreditNoteRow.invoice_id).in_(invoice_ids))
    return {note.invoice_id: note for note in (await session.execute(statement)).scalars()}
