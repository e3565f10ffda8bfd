"""Reads checkout sessions."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.checkout.rules import CheckoutSessionNotFound
from billing.checkout.schemas import CheckoutSession
from billing.checkout.tables import CheckoutSessionRow


async def get(session: AsyncSession, tenant_id: str, checkout_session_id: str) -> CheckoutSession:
    """One of the tenant's checkout sessions. Raises `CheckoutSessionNotFound`."""
    statement = select(CheckoutSessionRow).where(
        col(CheckoutSessionRow.id) == checkout_session_id, col(CheckoutSessionRow.tenant_id) == tenant_id
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise CheckoutSessionNotFound
    return view(row)


async def reference_of(session: AsyncSession, checkout_session_id: str) -> tuple[str, str]:
    """The provider of a checkout session, and the provider's own id of its page."""
    row = await session.get_one(CheckoutSessionRow, checkout_session_id)
    return row.provider, row.reference


async def find_open(session: AsyncSession, provider: str, reference: str) -> str | None:
    """The open checkout session that has this page."""
    statement = select(col(CheckoutSessionRow.id)).where(
        col(CheckoutSessionRow.provider) == provider,
        col(CheckoutSessionRow.reference) == reference,
        col(CheckoutSessionRow.status) == "open",
    )
    return (await session.execute(statement)).scalar_one_or_none()


def view(row: CheckoutSessionRow) -> CheckoutSession:
    """A checkout session as the API shows it."""
    return CheckoutSession(
        id=row.id,
        url=row.url if row.status == "open" else None,
        status=row.status,
        payment_method_id=row.payment_method_id,
        livemode=row.livemode,
        expires_at=row.expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
