"""Finalises invoices, and settles them: paid, or void with a credit note. Every step is booked in the ledger.

The caller has locked the subscription, so nobody else changes the tenant's invoices meanwhile.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import ledger
from billing.invoices.rules import InvoiceNotOpen, Quote
from billing.invoices.tables import CreditNoteRow, InvoiceCounterRow, InvoiceRow
from billing.tenants import TenantRow
from shared.ids import new_id


async def finalize(
    session: AsyncSession,
    tenant: TenantRow,
    quote: Quote,
    *,
    livemode: bool,
    due_at: datetime | None,
    at: datetime,
) -> InvoiceRow:
    """The invoice of this quote, with the tenant's next number. Its date is `at`, by the tenant's clock."""
    bought = quote.lines[-1]
    row = InvoiceRow(
        id=new_id("inv"),
        tenant_id=tenant.tenant_id,
        number=await _next_number(session, tenant.tenant_id, "invoices"),
        livemode=livemode,
        status="open",
        currency=quote.currency,
        subtotal=quote.subtotal,
        tax=quote.tax,
        total=quote.total,
        plan=bought.plan,
        period_start=bought.period_start,
        period_end=bought.period_end,
        due_at=due_at,
        snapshot={
            "customer": {"name": tenant.name, "country": tenant.country},
            "lines": _as_json(quote.lines),
            "taxes": _as_json(quote.taxes),
        },
        finalized_at=at,
        version=1,
        created_at=at,
        updated_at=at,
    )
    session.add(row)
    entries: dict[ledger.Account, int] = {"receivable": row.total, "revenue": -row.subtotal, "tax": -row.tax}
    await ledger.post(session, row.tenant_id, row.currency, "invoice_finalized", entries, document=row.id, at=at)
    return row


async def settle(session: AsyncSession, invoice: InvoiceRow, at: datetime) -> None:
    """The open invoice has been paid. Raises `InvoiceNotOpen`."""
    _close(invoice, "paid", at)
    entries: dict[ledger.Account, int] = {"cash": invoice.total, "receivable": -invoice.total}
    await ledger.post(session, invoice.tenant_id, invoice.currency, "invoice_paid", entries, document=invoice.id, at=at)


async def void(session: AsyncSession, invoice: InvoiceRow, reason: str, at: datetime) -> None:
    """Nothing is to be paid of the open invoice: a credit note takes it back. Raises `InvoiceNotOpen`."""
    _close(invoice, "void", at)
    if not invoice.total:
        return
    note = CreditNoteRow(
        id=new_id("crn"),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        number=await _next_number(session, invoice.tenant_id, "credit_notes"),
        amount=invoice.total,
        reason=reason,
        created_at=at,
    )
    session.add(note)
    entries: dict[ledger.Account, int] = {"revenue": invoice.subtotal, "tax": invoice.tax, "receivable": -invoice.total}
    await ledger.post(
        session, invoice.tenant_id, invoice.currency, "invoice_credited", entries, document=note.id, at=at
    )


def _close(invoice: InvoiceRow, status: Literal["paid", "void"], at: datetime) -> None:
    if invoice.status != "open":
        raise InvoiceNotOpen(invoice.status)
    invoice.status = status
    invoice.settled_at = invoice.updated_at = at
    invoice.version += 1


async def _next_number(session: AsyncSession, tenant_id: str, of: Literal["invoices", "credit_notes"]) -> int:
    column = col(getattr(InvoiceCounterRow, of))
    statement = insert(InvoiceCounterRow).values({"tenant_id": tenant_id, "invoices": 0, "credit_notes": 0, of: 1})
    counted = statement.on_conflict_do_update(index_elements=["tenant_id"], set_={of: column + 1}).returning(column)
    return int((await session.execute(counted)).scalar_one())


def _as_json(parts: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(part).items()}
        for part in parts
    ]
