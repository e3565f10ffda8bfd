"""Makes the documents of new invoices."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoice_documents, invoices, tenants
from billing.invoice_documents import INVOICE_DOCUMENT, Seller, contents, rendering
from billing.invoice_documents.contents import Language
from shared.postgres.database import Database
from shared.tasks import Again, Attempted, Task, TaskKind

AT_ONCE = 4


def task_kinds(database: Database, seller: Seller, language: Language) -> Sequence[TaskKind]:
    """The kind of task that makes documents."""

    async def make(task: Task) -> tuple[bytes, bytes]:
        tenant_id = task.payload["tenant_id"]
        async with database.reading() as session:
            invoice = await invoices.get(session, tenant_id, task.key)
            zone = (await tenants.get(session, tenant_id)).timezone
        # Both take tens of milliseconds of a processor.
        xml = await asyncio.to_thread(
            lambda: rendering.xml_of(contents.for_programs(invoice, seller, language=language, zone=zone))
        )
        pdf = await asyncio.to_thread(
            lambda: rendering.pdf_of(contents.for_readers(invoice, seller, language=language, zone=zone), xml)
        )
        return pdf, xml

    async def store(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again] | None:
        for one in attempted:
            pdf, xml = one.outcome
            tenant_id, at = one.task.payload["tenant_id"], datetime.now(UTC)
            await invoice_documents.store(session, tenant_id, one.task.key, pdf=pdf, xml=xml, at=at)
        return None

    return [TaskKind(INVOICE_DOCUMENT, record=store, attempt=make, at_once=AT_ONCE)]
