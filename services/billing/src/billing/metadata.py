"""The metadata of all tables of billing, for migrations."""

from billing.checkout import CheckoutSessionRow
from billing.invoice_documents import InvoiceDocumentRow
from billing.invoices import CreditNoteRow, InvoiceCounterRow, InvoiceRow
from billing.ledger import LedgerEntryRow
from billing.payments import ChargeAttemptRow, PaymentMethodRow
from billing.plans import PlanRow, TaxRateRow
from billing.registry import Base
from billing.subscriptions import SubscriptionRow
from billing.tenants import TenantRow
from billing.test_clocks import ReplicaRow, TestClockRow
from shared.service.tables import add_base_tables

add_base_tables(Base.metadata)

__all__ = [
    "Base",
    "ChargeAttemptRow",
    "CheckoutSessionRow",
    "CreditNoteRow",
    "InvoiceCounterRow",
    "InvoiceDocumentRow",
    "InvoiceRow",
    "LedgerEntryRow",
    "PaymentMethodRow",
    "PlanRow",
    "ReplicaRow",
    "SubscriptionRow",
    "TaxRateRow",
    "TenantRow",
    "TestClockRow",
]
