"""Reads payment methods."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import payments
from billing.payment_methods.schemas import PaymentMethod
from billing.payments import PaymentMethodRow
from shared.api import Page, Paging, page


async def list_of_tenant(session: AsyncSession, tenant_id: str, request: Paging) -> Page[PaymentMethod]:
    """The tenant's payment methods, newest first."""
    statement = select(PaymentMethodRow).where(
        col(PaymentMethodRow.tenant_id) == tenant_id, col(PaymentMethodRow.deleted_at).is_(None)
    )
    return await page(session, statement, request, by=[col(PaymentMethodRow.id)], view=view)


async def get(session: AsyncSession, tenant_id: str, method_id: str) -> PaymentMethod:
    """One of the tenant's payment methods. Raises `PaymentMethodNotFound`."""
    return view(await payments.get_method(session, tenant_id, method_id))


def view(row: PaymentMethodRow) -> PaymentMethod:
    """A payment method as the API shows it."""
    return PaymentMethod(**row.model_dump(exclude={"reference", "deleted_at"}))
