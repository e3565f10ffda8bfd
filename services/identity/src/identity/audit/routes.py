"""Routes of the audit trail."""

from typing import Annotated

from fastapi import Query, Request, Response

from identity import audit
from identity.audit import AuditExports
from identity.audit.operations import NDJSON
from identity.audit.schemas import AuditEvent, AuditFilters, ServiceName
from shared.api import CurrentActor, CursorsOfList, Page, PageRequest, Reading, Router, Transactions, requires
from shared.fields.text import QueryText
from shared.timestamps import Timestamp

TEXT_LENGTH_MAX = 100


_STREAM = {
    "description": "The events: a page, or all of them as one JSON document per line.",
    "content": {
        NDJSON: {
            "schema": {"type": "string"},
            "example": '{"object": "audit_event", "action": "merchant.updated", "target": "mer_01h455vb4pex5vsknk084sn02q"}\n',
        }
    },
}


def router(exports: AuditExports) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["audit"])

    @routes.get("/v1/audit-events", response_model=Page[AuditEvent], responses={200: _STREAM})
    @requires("settings.audit.read")
    async def list_audit_events(
        session: Reading,
        requester: CurrentActor,
        paging: PageRequest,
        cursors: CursorsOfList,
        transactions: Transactions,
        request: Request,
        actor: Annotated[QueryText, Query(max_length=TEXT_LENGTH_MAX, description="Id of the actor.")] = None,
        action: Annotated[
            QueryText, Query(max_length=TEXT_LENGTH_MAX, description="For example merchant.updated.")
        ] = None,
        target: Annotated[QueryText, Query(max_length=TEXT_LENGTH_MAX, description="Id of the record.")] = None,
        service: Annotated[ServiceName | None, Query(description="The service in which it was done.")] = None,
        created_at_gte: Annotated[Timestamp | None, Query(description="At or after this instant.")] = None,
        created_at_lte: Annotated[Timestamp | None, Query(description="At or before this instant.")] = None,
    ) -> Page[AuditEvent] | Response:
        """List the audit events of all services, newest first.

        With `Accept: application/x-ndjson` the answer is a stream of all events from the cursor on, whatever `limit` says: 429 while too
        many of the tenant are running, 503 while too many of all tenants are. If it cannot be completed, the connection is broken.
        """
        filters = AuditFilters(actor, action, target, service, created_at_gte, created_at_lte)
        if NDJSON in request.headers.get("accept", ""):
            return await exports.begin(transactions, requester, filters, cursors, request.query_params.get("cursor"))
        return await audit.list_events(session, requester, filters, paging)

    return routes
