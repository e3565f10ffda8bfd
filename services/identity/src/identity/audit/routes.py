"""Routes of the audit trail."""

from typing import Annotated

from fastapi import Query

from identity import audit
from identity.audit.schemas import AuditEvent, AuditFilters, ServiceName
from shared.api import CurrentActor, Page, PageRequest, Reading, Router, requires
from shared.fields.text import QueryText
from shared.timestamps import Timestamp

TEXT_LENGTH_MAX = 100


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["audit"])

    @routes.get("/v1/audit-events")
    @requires("settings.audit.read")
    async def list_audit_events(
        session: Reading,
        requester: CurrentActor,
        paging: PageRequest,
        actor: Annotated[QueryText, Query(max_length=TEXT_LENGTH_MAX, description="Id of the actor.")] = None,
        action: Annotated[
            QueryText, Query(max_length=TEXT_LENGTH_MAX, description="For example merchant.updated.")
        ] = None,
        target: Annotated[QueryText, Query(max_length=TEXT_LENGTH_MAX, description="Id of the record.")] = None,
        service: Annotated[ServiceName | None, Query(description="The service in which it was done.")] = None,
        created_at_gte: Annotated[Timestamp | None, Query(description="At or after this instant.")] = None,
        created_at_lte: Annotated[Timestamp | None, Query(description="At or before this instant.")] = None,
    ) -> Page[AuditEvent]:
        """List the audit events of all services, newest first."""
        filters = AuditFilters(actor, action, target, service, created_at_gte, created_at_lte)
        return await audit.list_events(session, requester, filters, paging)

    return routes
