"""Routes of the documents of invoices."""

from typing import Any, Literal

from fastapi import Response

from billing import invoice_documents
from shared.api import CurrentCaller, Reading, Router, requires
from shared.ids import InvoiceId


def router() -> Router:
    """The routes, for the app to include before those of invoices."""
    routes = Router(tags=["billing"])

    @routes.get(
        "/v1/billing/invoices/{invoice_id}.pdf", response_class=Response, responses={200: _document("application/pdf")}
    )
    @requires("billing.read", exempt_from_402=True)
    async def get_invoice_pdf(invoice_id: InvoiceId, session: Reading, caller: CurrentCaller) -> Response:
        """Get an invoice as a PDF (PDF/A-3), which carries the same invoice as Factur-X."""
        return await _answer(session, caller.tenant_id, invoice_id, "pdf", "application/pdf")

    @routes.get(
        "/v1/billing/invoices/{invoice_id}.xml", response_class=Response, responses={200: _document("application/xml")}
    )
    @requires("billing.read", exempt_from_402=True)
    async def get_invoice_xml(invoice_id: InvoiceId, session: Reading, caller: CurrentCaller) -> Response:
        """Get an invoice as XML: Factur-X, in the profile of EN 16931."""
        return await _answer(session, caller.tenant_id, invoice_id, "xml", "application/xml")

    return routes


def _document(media_type: str) -> dict[str, Any]:
    content = {"schema": {"type": "string"}, "example": "…"}
    return {
        "description": "The document.",
        "content": {media_type: content},
        "headers": {"Content-Disposition": {"$ref": "#/components/headers/Content-Disposition"}},
    }


async def _answer(
    session: Reading, tenant_id: str, invoice_id: str, kind: Literal["pdf", "xml"], media_type: str
) -> Response:
    name, content = await invoice_documents.get(session, tenant_id, invoice_id, kind)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, max-age=3600"}
    return Response(content, media_type=media_type, headers=headers)
