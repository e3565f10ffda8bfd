"""The table of checkout sessions."""

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from billing.checkout.rules import CheckoutStatus
from billing.registry import Base
from shared.id_columns import CheckoutSessionId, PaymentMethodId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Text


class CheckoutSessionRow(Base, table=True):
    """A page of a provider on which a person gives a payment method."""

    __tablename__ = "checkout_sessions"
    __table_args__ = (UniqueConstraint("provider", "reference"),)

    id: CheckoutSessionId = Field(primary_key=True)
    tenant_id: TenantId
    version: BigInt
    provider: Text
    reference: Text
    url: Text
    status: Choice[CheckoutStatus]
    payment_method_id: PaymentMethodId | None = None
    livemode: bool
    created_at: Instant
    expires_at: Instant
    updated_at: Instant
