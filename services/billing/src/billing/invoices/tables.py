"""The tables of invoices, of credit notes, and of the numbers that they have."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field

from billing.invoices.rules import InvoiceStatus
from billing.registry import Base
from shared.id_columns import CreditNoteId, InvoiceId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Json, Text


class InvoiceRow(Base, table=True):
    """A finalised invoice. Only its status and what goes with that changes; the snapshot is what was invoiced, to whom."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("tenant_id", "number"),
        CheckConstraint("status IN ('open', 'paid', 'void')", name="status"),
        CheckConstraint("total >= 0 AND total = subtotal + tax", name="total"),
        CheckConstraint("credit_applied >= 0 AND credit_applied <= total", name="credit_applied"),
        # A subscription has at most one open invoice: no period is invoiced before the one before it is settled.
        Index("uq_invoices_open", "tenant_id", unique=True, postgresql_where=text("status = 'open'")),
        Index("ix_invoices_tenant_id_id", "tenant_id", "id"),
    )

    id: InvoiceId = Field(primary_key=True)
    tenant_id: TenantId
    number: int
    livemode: bool
    status: Choice[InvoiceStatus]
    currency: Text
    subtotal: BigInt
    tax: BigInt
    total: BigInt
    credit_applied: BigInt = Field(0, sa_column_kwargs={"server_default": text("0")})
    """What of it a credit of the tenant has paid at once."""
    plan: Text
    period_start: Instant
    period_end: Instant
    due_at: Instant | None = None
    snapshot: Json
    finalized_at: Instant
    settled_at: Instant | None = None
    version: BigInt
    created_at: Instant
    updated_at: Instant


class CreditNoteRow(Base, table=True):
    """What is not to be paid of an invoice. It never changes."""

    __tablename__ = "credit_notes"
    __table_args__ = (
        UniqueConstraint("tenant_id", "number"),
        UniqueConstraint("invoice_id"),
        CheckConstraint("amount > 0", name="amount"),
    )

    id: CreditNoteId = Field(primary_key=True)
    tenant_id: TenantId
    invoice_id: InvoiceId = Field(sa_column_args=[ForeignKey("invoices.id")])
    number: int
    amount: BigInt
    reason: Text
    created_at: Instant


class InvoiceCounterRow(Base, table=True):
    """The last numbers of a tenant. Locked until the document that takes the next one is committed, so none is ever missing."""

    __tablename__ = "invoice_counters"

    tenant_id: TenantId = Field(primary_key=True)
    invoices: int = 0
    credit_notes: int = 0
