"""The tables of payment methods and of charges."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field

from billing.payments.rules import CHARGE_STATES, UNDER_WAY, ChargeState
from billing.registry import Base
from shared.id_columns import ChargeId, InvoiceId, PaymentMethodId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Text

_STATE_LIST = ", ".join(f"'{state}'" for state in CHARGE_STATES)
_UNDER_WAY_LIST = ", ".join(f"'{state}'" for state in UNDER_WAY)


class PaymentMethodRow(Base, table=True):
    """A way to pay, as a provider keeps it: billing has no card data."""

    __tablename__ = "payment_methods"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        Index(
            "uq_payment_methods_default",
            "tenant_id",
            unique=True,
            postgresql_where=text("is_default AND deleted_at IS NULL"),
        ),
        Index("ix_payment_methods_tenant_id_id", "tenant_id", "id"),
    )

    id: PaymentMethodId = Field(primary_key=True)
    tenant_id: TenantId
    provider: Text
    reference: Text
    label: Text
    is_default: bool
    livemode: bool
    version: BigInt = Field(sa_column_kwargs={"server_default": text("1")})
    created_at: Instant
    updated_at: Instant = Field(sa_column_kwargs={"server_default": text("now()")})
    deleted_at: Instant | None = None


class ChargeAttemptRow(Base, table=True):
    """One attempt to charge an invoice; `key` names it to the provider for ever."""

    __tablename__ = "charge_attempts"
    __table_args__ = (
        UniqueConstraint("invoice_id", "n"),
        UniqueConstraint("key"),
        CheckConstraint(f"state IN ({_STATE_LIST})", name="state"),
        # At most one attempt of an invoice may still take the amount.
        Index(
            "uq_charge_attempts_under_way",
            "invoice_id",
            unique=True,
            postgresql_where=text(f"state IN ({_UNDER_WAY_LIST})"),
        ),
    )

    id: ChargeId = Field(primary_key=True)
    tenant_id: TenantId
    invoice_id: InvoiceId = Field(sa_column_args=[ForeignKey("invoices.id")])
    n: int
    key: Text
    state: Choice[ChargeState]
    payment_method_id: PaymentMethodId = Field(sa_column_args=[ForeignKey("payment_methods.id")])
    provider: Text
    amount: BigInt
    currency: Text
    reference: Text | None = None
    reason: Text | None = None
    created_at: Instant
    sent_at: Instant | None = None
    settled_at: Instant | None = None
