"""Invoices: numbered without gaps, never changed once they have a number; credit notes take back what is not to be paid."""

from billing.invoices.operations import NewInvoice, finalize, settle, void
from billing.invoices.queries import get, get_all_open, get_open, list_of_tenant, lock, state_of, view
from billing.invoices.rules import (
    AmountChanged,
    Draft,
    InvoiceNotFound,
    InvoiceNotOpen,
    Line,
    Quote,
    TaxLine,
    draft_of_change,
    draft_of_period,
    quote,
)
from billing.invoices.schemas import Invoice, InvoiceLine, InvoiceTax, Party
from billing.invoices.tables import CreditNoteRow, InvoiceCounterRow, InvoiceRow

__all__ = [
    "AmountChanged",
    "CreditNoteRow",
    "Draft",
    "Invoice",
    "InvoiceCounterRow",
    "InvoiceLine",
    "InvoiceNotFound",
    "InvoiceNotOpen",
    "InvoiceRow",
    "InvoiceTax",
    "Line",
    "NewInvoice",
    "Party",
    "Quote",
    "TaxLine",
    "draft_of_change",
    "draft_of_period",
    "finalize",
    "get",
    "get_all_open",
    "get_open",
    "list_of_tenant",
    "lock",
    "quote",
    "settle",
    "state_of",
    "view",
    "void",
]
