"""Orders the documents of an invoice, and stores them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.invoice_documents.tables import InvoiceDocumentRow
from shared import tasks
from shared.events.billing import InvoiceState
from shared.tasks import NewTask

INVOICE_DOCUMENT = "invoice_document"
"""The kind of the task that makes the documents of an invoice; its key is the invoice's id."""


async def order(session: AsyncSession, new: Sequence[InvoiceState]) -> None:
    """Have the documents of new invoices made, once their transaction is committed."""
    await tasks.add(
        session, [NewTask(INVOICE_DOCUMENT, one.invoice_id, payload={"tenant_id": one.tenant_id}) for one in new]
    )


async def store(
    session: AsyncSession, tenant_id: str, invoice_id: str, *, pdf: bytes, xml: bytes, at: datetime
) -> None:
    """Store the documents of an invoice. Those that are there already stay."""
    row = InvoiceDocumentRow(invoice_id=invoice_id, tenant_id=tenant_id, pdf=pdf, xml=xml, created_at=at)
    await session.execute(insert(InvoiceDocumentRow).values(row.model_dump()).on_conflict_do_nothing())
