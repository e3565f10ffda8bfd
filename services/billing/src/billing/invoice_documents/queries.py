"""Reads the documents of invoices."""

from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import invoices
from billing.invoice_documents.contents import InvoiceDocumentMissing
from billing.invoice_documents.tables import InvoiceDocumentRow


async def get(session: AsyncSession, tenant_id: str, invoice_id: str, kind: Literal["pdf", "xml"]) -> tuple[str, bytes]:
    """The name and content of a document of one of the tenant's invoices. Raises `InvoiceNotFound`, `InvoiceDocumentMissing`."""
    invoice = await invoices.get(session, tenant_id, invoice_id)
    statement = select(col(getattr(InvoiceDocumentRow, kind))).where(col(InvoiceDocumentRow.invoice_id) == invoice_id)
    content = (await session.execute(statement)).scalar_one_or_none()
    if content is None:
        raise InvoiceDocumentMissing
    return f"{invoice.number}.{kind}", content
