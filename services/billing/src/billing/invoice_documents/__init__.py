"""The documents of invoices: a PDF (PDF/A-3) that carries the same invoice as XML (Factur-X, EN 16931). Made once, and stored for good."""

from billing.invoice_documents.contents import LANGUAGES, Language, Seller
from billing.invoice_documents.operations import INVOICE_DOCUMENT, order, store
from billing.invoice_documents.queries import get
from billing.invoice_documents.tables import InvoiceDocumentRow

__all__ = ["INVOICE_DOCUMENT", "LANGUAGES", "InvoiceDocumentRow", "Language", "Seller", "get", "order", "store"]
