"""Reads payment methods and charges."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.payments.rules import UNDER_WAY, PaymentMethodNotFound
from billing.payments.schemas import PaymentMethod
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow
from shared.api import Page, Paging, page


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


async def get_method(session: AsyncSession, tenant_id: str, method_id: str) -> PaymentMethodRow:
    """One of the tenant's payment methods. Raises `PaymentMethodNotFound`."""
    statement = _kept(tenant_id).where(col(PaymentMethodRow.id) == method_id)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise PaymentMethodNotFound
    return row


async def list_methods(session: AsyncSession, tenant_id: str, request: Paging) -> Page[PaymentMethod]:
    """The tenant's payment methods, newest first."""
    return await page(session, _kept(tenant_id), request, by=[col(PaymentMethodRow.id)], view=_view)


async def under_way(session: AsyncSession, invoice_id: str) -> bool:
    """Whether a charge of this invoice may still take the amount."""
    statement = select(col(ChargeAttemptRow.id)).where(
        col(ChargeAttemptRow.invoice_id) == invoice_id, col(ChargeAttemptRow.state).in_(UNDER_WAY)
    )
    return (await session.execute(statement)).first() is not None


async def find_under_way(session: AsyncSession, key: str) -> str | None:
    """The attempt with this key, if its charge may still take the amount."""
    statement = select(col(ChargeAttemptRow.id)).where(
        col(ChargeAttemptRow.key) == key, col(ChargeAttemptRow.state).in_(UNDER_WAY)
    )
    return (await session.execute(statement)).scalar_one_or_none()


def _kept(tenant_id: str) -> Select[PaymentMethodRow]:
    return select(PaymentMethodRow).where(
        col(PaymentMethodRow.tenant_id) == tenant_id, col(PaymentMethodRow.deleted_at).is_(None)
    )


def _view(row: PaymentMethodRow) -> PaymentMethod:
    return PaymentMethod(**row.model_dump(exclude={"reference", "deleted_at"}))
