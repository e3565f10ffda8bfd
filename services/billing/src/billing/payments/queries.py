"""Reads payment methods and charges."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.payments.rules import UNDER_WAY, PaymentMethodNotFound
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow


async def default_method(session: AsyncSession, tenant_id: str) -> PaymentMethodRow | None:
    """The payment method that is charged, if the tenant has one."""
    statement = select(PaymentMethodRow).where(
        col(PaymentMethodRow.tenant_id) == tenant_id,
        col(PaymentMethodRow.is_default),
        col(PaymentMethodRow.deleted_at).is_(None),
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get_method(session: AsyncSession, tenant_id: str, method_id: str) -> PaymentMethodRow:
    """One of the tenant's payment methods. Raises `PaymentMethodNotFound`."""
    statement = select(PaymentMethodRow).where(
        col(PaymentMethodRow.id) == method_id,
        col(PaymentMethodRow.tenant_id) == tenant_id,
        col(PaymentMethodRow.deleted_at).is_(None),
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise PaymentMethodNotFound
    return row


async def under_way(session: AsyncSession, invoice_id: str) -> bool:
    """Whether a charge of this invoice may still take the amount."""
    statement = select(col(ChargeAttemptRow.id)).where(
        col(ChargeAttemptRow.invoice_id) == invoice_id, col(ChargeAttemptRow.state).in_(UNDER_WAY)
    )
    return (await session.execute(statement)).first() is not None
