"""The table of the documents of invoices."""

from sqlalchemy import ForeignKey, LargeBinary
from sqlmodel import Field

from billing.registry import Base
from shared.id_columns import InvoiceId, TenantId
from shared.postgres.column_types import Instant


class InvoiceDocumentRow(Base, table=True):
    """The documents of one invoice. They never change, whatever becomes of seller, template or time zone."""

    __tablename__ = "invoice_documents"

    invoice_id: InvoiceId = Field(primary_key=True, sa_column_args=[ForeignKey("invoices.id")])
    tenant_id: TenantId
    pdf: bytes = Field(sa_type=LargeBinary)
    xml: bytes = Field(sa_type=LargeBinary)
    created_at: Instant
