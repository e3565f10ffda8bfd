"""Finalises invoices, and settles them: paid, or void with a credit note. Every step is booked in the ledger.

The caller has locked the subscription, so nobody else changes the tenant's invoices meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import ledger
from billing.invoices.rules import InvoiceNotOpen, Quote, numbered
from billing.invoices.tables import CreditNoteRow, InvoiceRow
from billing.ledger import Posting
from billing.tenants import Tenant
from shared.events.billing import InvoiceState
from shared.ids import from_uuid, known_uuid, new_id, to_uuid
from shared.postgres.many_rows import insert_rows

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


_COLUMNS = (
    "id",
    "tenant_id",
    "number",
    "livemode",
    "status",
    "currency",
    "subtotal",
    "tax",
    "total",
    "credit_applied",
    "plan",
    "period_start",
    "period_end",
    "due_at",
    "snapshot",
    "finalized_at",
    "version",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice to be finalised."""

    tenant: Tenant
    quote: Quote
    livemode: bool
    due_at: datetime | None
    at: datetime
    """Its date, by the tenant's clock."""


async def finalize(session: AsyncSession, new: Sequence[NewInvoice]) -> list[InvoiceState]:
    """The invoices of these quotes, one of a tenant, each with its tenant's next number."""
    numbers = await _next_numbers(session, [one.tenant.tenant_id for one in new], "invoices")
    finalized = [_state(one, numbers[one.tenant.tenant_id]) for one in new]
    rows = [_values(one, state, numbers[state.tenant_id]) for one, state in zip(new, finalized, strict=True)]
    await insert_rows(session, InvoiceRow, _COLUMNS, rows)
    booked = [_finalized(one, state) for one, state in zip(new, finalized, strict=True)]
    used = [_used_credit(one, state) for one, state in zip(new, finalized, strict=True) if one.quote.credit_applied]
    await ledger.post(session, *booked, *used)
    return finalized


async def settle(session: AsyncSession, invoice: InvoiceRow, at: datetime) -> None:
    """The open invoice has been paid. Raises `InvoiceNotOpen`."""
    _close(invoice, "paid", at)
    received = invoice.total - invoice.credit_applied
    await ledger.post(session, _posting(invoice, "invoice_paid", {"cash": received, "receivable": -received}, at))


async def void(session: AsyncSession, invoice: InvoiceRow, reason: str, at: datetime) -> None:
    """Nothing is to be paid of the open invoice: a credit note takes it back, and the tenant has again what it used of its credit.

    Raises `InvoiceNotOpen`.
    """
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
    entries: dict[ledger.Account, int] = {
        "revenue": invoice.subtotal,
        "tax": invoice.tax,
        "receivable": invoice.credit_applied - invoice.total,
        "customer_credit": -invoice.credit_applied,
    }
    await ledger.post(session, _posting(invoice, "invoice_credited", entries, at, document=note.id))


def _state(new: NewInvoice, number: int) -> InvoiceState:
    quote, bought = new.quote, new.quote.lines[-1]
    return InvoiceState(
        invoice_id=new_id("inv"),
        tenant_id=new.tenant.tenant_id,
        number=numbered("invoice", number),
        status="open",
        currency=quote.currency,
        total=quote.total,
        amount_due=quote.amount_due,
        plan=bought.plan,
        period_start=bought.period_start,
        period_end=bought.period_end,
        finalized_at=new.at,
        due_at=new.due_at,
    )


def _values(new: NewInvoice, state: InvoiceState, number: int) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`."""
    quote, tenant = new.quote, new.tenant
    snapshot = {
        "customer": {"name": tenant.name, "country": tenant.country, "region": tenant.region},
        "lines": quote.lines,
        "taxes": quote.taxes,
    }
    return (
        to_uuid(state.invoice_id),
        known_uuid(state.tenant_id),
        number,
        new.livemode,
        state.status,
        state.currency,
        quote.subtotal,
        quote.tax,
        state.total,
        quote.credit_applied,
        state.plan,
        state.period_start,
        state.period_end,
        state.due_at,
        to_json(snapshot).decode(),
        new.at,
        1,
        new.at,
        new.at,
    )


def _finalized(new: NewInvoice, state: InvoiceState) -> Posting:
    amounts: dict[ledger.Account, int] = {
        "receivable": state.total,
        "revenue": -new.quote.subtotal,
        "tax": -new.quote.tax,
    }
    return Posting(state.tenant_id, state.currency, "invoice_finalized", amounts, state.invoice_id, new.at)


def _used_credit(new: NewInvoice, state: InvoiceState) -> Posting:
    used = new.quote.credit_applied
    amounts: dict[ledger.Account, int] = {"customer_credit": used, "receivable": -used}
    return Posting(state.tenant_id, state.currency, "credit_applied", amounts, state.invoice_id, new.at)


def _posting(
    invoice: InvoiceRow, cause: ledger.Cause, amounts: Mapping[ledger.Account, int], at: datetime, *, document: str = ""
) -> Posting:
    return Posting(invoice.tenant_id, invoice.currency, cause, amounts, document or invoice.id, at)


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
    rows = await session.execute(_COUNT, {"tenants": [known_uuid(one) for one in tenant_ids], **more})
    return {from_uuid("ten", row.tenant_id): getattr(row, of) for row in rows}
