"""Finalises invoices, and settles them: paid, or void with a credit note. Every step is booked in the ledger.

The caller has locked the subscription, so nobody else changes the tenant's invoices meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import ledger
from billing.invoices.rules import InvoiceNotOpen, Line, Quote, TaxLine
from billing.invoices.tables import CreditNoteRow, InvoiceRow
from billing.ledger import Posting
from billing.tenants import TenantRow
from shared.ids import from_uuid, new_id, to_uuid

# Sorted, as every transaction locks several tenants.
_COUNT = text(
    """
    INSERT INTO invoice_counters AS counter (tenant_id, invoices, credit_notes)
    SELECT tenant_id, :invoices, :credit_notes FROM unnest(CAST(:tenants AS uuid[])) AS wanted (tenant_id) ORDER BY tenant_id
    ON CONFLICT (tenant_id) DO UPDATE
        SET invoices = counter.invoices + excluded.invoices, credit_notes = counter.credit_notes + excluded.credit_notes
    RETURNING tenant_id, invoices, credit_notes
    """
)


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice to be finalised."""

    tenant: TenantRow
    quote: Quote
    livemode: bool
    due_at: datetime | None
    at: datetime
    """Its date, by the tenant's clock."""


async def finalize(session: AsyncSession, new: Sequence[NewInvoice]) -> list[InvoiceRow]:
    """The invoices of these quotes, one of a tenant, each with its tenant's next number."""
    numbers = await _next_numbers(session, [one.tenant.tenant_id for one in new], "invoices")
    rows = [_row(one, numbers[one.tenant.tenant_id]) for one in new]
    session.add_all(rows)
    await session.flush()
    await ledger.post(
        session,
        *(
            _posting(row, "invoice_finalized", {"receivable": row.total, "revenue": -row.subtotal, "tax": -row.tax})
            for row in rows
        ),
    )
    return rows


async def settle(session: AsyncSession, invoice: InvoiceRow, at: datetime) -> None:
    """The open invoice has been paid. Raises `InvoiceNotOpen`."""
    _close(invoice, "paid", at)
    await ledger.post(
        session, _posting(invoice, "invoice_paid", {"cash": invoice.total, "receivable": -invoice.total}, at)
    )


async def void(session: AsyncSession, invoice: InvoiceRow, reason: str, at: datetime) -> None:
    """Nothing is to be paid of the open invoice: a credit note takes it back. Raises `InvoiceNotOpen`."""
    _close(invoice, "void", at)
    if not invoice.total:
        return
    numbers = await _next_numbers(session, [invoice.tenant_id], "credit_notes")
    note = CreditNoteRow(
        id=new_id("crn"),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        number=numbers[invoice.tenant_id],
        amount=invoice.total,
        reason=reason,
        created_at=at,
    )
    session.add(note)
    entries: dict[ledger.Account, int] = {"revenue": invoice.subtotal, "tax": invoice.tax, "receivable": -invoice.total}
    await ledger.post(session, _posting(invoice, "invoice_credited", entries, at, document=note.id))


def _row(new: NewInvoice, number: int) -> InvoiceRow:
    quote, bought = new.quote, new.quote.lines[-1]
    return InvoiceRow(
        id=new_id("inv"),
        tenant_id=new.tenant.tenant_id,
        number=number,
        livemode=new.livemode,
        status="open",
        currency=quote.currency,
        subtotal=quote.subtotal,
        tax=quote.tax,
        total=quote.total,
        plan=bought.plan,
        period_start=bought.period_start,
        period_end=bought.period_end,
        due_at=new.due_at,
        snapshot={
            "customer": {"name": new.tenant.name, "country": new.tenant.country},
            "lines": _as_json(quote.lines),
            "taxes": _as_json(quote.taxes),
        },
        finalized_at=new.at,
        version=1,
        created_at=new.at,
        updated_at=new.at,
    )


def _posting(
    invoice: InvoiceRow,
    cause: ledger.Cause,
    amounts: Mapping[ledger.Account, int],
    at: datetime | None = None,
    *,
    document: str = "",
) -> Posting:
    return Posting(
        invoice.tenant_id, invoice.currency, cause, amounts, document or invoice.id, at or invoice.finalized_at
    )


def _close(invoice: InvoiceRow, status: Literal["paid", "void"], at: datetime) -> None:
    if invoice.status != "open":
        raise InvoiceNotOpen(invoice.status)
    invoice.status = status
    invoice.settled_at = invoice.updated_at = at
    invoice.version += 1


async def _next_numbers(
    session: AsyncSession, tenant_ids: Sequence[str], of: Literal["invoices", "credit_notes"]
) -> Mapping[str, int]:
    """The next number of each of these tenants."""
    more = {"invoices": int(of == "invoices"), "credit_notes": int(of == "credit_notes")}
    rows = await session.execute(_COUNT, {"tenants": [to_uuid(one) for one in tenant_ids], **more})
    return {from_uuid("ten", row.tenant_id): getattr(row, of) for row in rows}


def _as_json(parts: Sequence[Line | TaxLine]) -> list[dict[str, Any]]:
    # Not `asdict`, which copies every value deeply.
    return [{one.name: _as_json_value(getattr(part, one.name)) for one in fields(part)} for part in parts]


def _as_json_value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
