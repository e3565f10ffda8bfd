"""The documents of invoices: a PDF (PDF/A-3) that carries the same invoice as XML (Factur-X, EN 16931). Made once, and stored for good."""

from billing.invoice_documents.operations import INVOICE_DOCUMENT, order, store
from billing.invoice_documents.queries import get
from billing.invoice_documents.rules import LANGUAGES, Seller
from billing.invoice_documents.tables import InvoiceDocumentRow

__all__ = ["INVOICE_DOCUMENT", "LANGUAGES", "InvoiceDocumentRow", "Seller", "get", "order", "store"]
