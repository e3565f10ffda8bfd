"""Reads payment methods and charges."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.payments.rules import UNDER_WAY, PaymentMethodNotFound
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow


async def default_method(session: AsyncSession, tenant_id: str) -> PaymentMethodRow | None:
    """The payment method that is charged, if the tenant has one."""
    return (await default_methods(session, [tenant_id])).get(tenant_id)


async def default_methods(session: AsyncSession, tenant_ids: Sequence[str]) -> Mapping[str, PaymentMethodRow]:
    """The payment methods that are charged, by tenant; tenants that have none are left out."""
    statement = select(PaymentMethodRow).where(
        col(PaymentMethodRow.tenant_id).in_(tenant_ids),
        col(PaymentMethodRow.is_default),
        col(PaymentMethodRow.deleted_at).is_(None),
    )
    return {row.tenant_id: row for row in (await session.execute(statement)).scalars()}


async def get_method(
    session: AsyncSession, tenant_id: str, method_id: str, *, deleted_too: bool = False
) -> PaymentMethodRow:
    """One of the tenant's payment methods. Raises `PaymentMethodNotFound`."""
    statement = select(PaymentMethodRow).where(
        col(PaymentMethodRow.id) == method_id, col(PaymentMethodRow.tenant_id) == tenant_id
    )
    if not deleted_too:
        statement = statement.where(col(PaymentMethodRow.deleted_at).is_(None))
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


async def is_in_use(session: AsyncSession, method_id: str) -> bool:
    """Whether a charge of this payment method may still take the amount."""
    statement = select(col(ChargeAttemptRow.id)).where(
        col(ChargeAttemptRow.payment_method_id) == method_id, col(ChargeAttemptRow.state).in_(UNDER_WAY)
    )
    return (await session.execute(statement)).first() is not None


async def find_under_way(session: AsyncSession, key: str) -> str | None:
    """The attempt with this key, if its charge may still take the amount."""
    statement = select(col(ChargeAttemptRow.id)).where(
        col(ChargeAttemptRow.key) == key, col(ChargeAttemptRow.state).in_(UNDER_WAY)
    )
    return (await session.execute(statement)).scalar_one_or_none()
