"""The HTTP edge of webhooks: for administrators alone; no merchant, by key or in person, comes in here."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from shared.http import CurrentCaller, IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import DeliveryId, EndpointId
from shared.instants import Instant
from webhooks import deliveries, endpoints
from webhooks.domain.matching import PATTERN_LENGTH_MAX
from webhooks.endpoints import Policy
from webhooks.models import (
    Delivery,
    DeliveryDetail,
    DeliveryStatus,
    Endpoint,
    EndpointCreated,
    EndpointIn,
    EndpointPatch,
    EndpointSecret,
)

READ = "settings.webhooks.read"
WRITE = endpoints.WRITE


def endpoint_router(policy: Policy) -> Router:
    """Routes of endpoints."""
    routes = Router(tags=["webhook endpoints"])

    @routes.get("/v1/webhook-endpoints")
    @requires(READ)
    async def list_webhook_endpoints(session: Reading, caller: CurrentCaller, paging: PageRequest) -> Page[Endpoint]:
        """List webhook endpoints, newest first."""
        return await endpoints.listed(session, policy, caller, paging)

    @routes.post("/v1/webhook-endpoints", status_code=201)
    @requires(WRITE)
    async def create_webhook_endpoint(
        wanted: EndpointIn, session: Transaction, caller: CurrentCaller
    ) -> EndpointCreated:
        """Create a webhook endpoint; the answer holds its secret."""
        return await endpoints.create(session, policy, caller, wanted, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}")
    @requires(READ)
    async def get_webhook_endpoint(endpoint_id: EndpointId, session: Reading, caller: CurrentCaller) -> Endpoint:
        """Read a webhook endpoint."""
        return await endpoints.get(session, policy, caller, endpoint_id)

    @routes.patch("/v1/webhook-endpoints/{endpoint_id}")
    @requires(WRITE)
    async def update_webhook_endpoint(
        endpoint_id: EndpointId, wanted: EndpointPatch, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> Endpoint:
        """Change a webhook endpoint; what is left out stays."""
        row = await endpoints.lock(session, caller, endpoint_id)
        if_match.check(row.version)
        return await endpoints.change(session, policy, caller, row, wanted, datetime.now(UTC))

    @routes.delete("/v1/webhook-endpoints/{endpoint_id}", status_code=204)
    @requires(WRITE)
    async def delete_webhook_endpoint(
        endpoint_id: EndpointId, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> None:
        """Delete a webhook endpoint; its unfinished deliveries are given up."""
        row = await endpoints.lock(session, caller, endpoint_id, deleted_too=True)
        if row.deleted_at is None:
            if_match.check(row.version)
            await endpoints.delete(session, caller, row, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}/secret")
    @requires(WRITE)
    async def get_webhook_endpoint_secret(
        endpoint_id: EndpointId, session: Transaction, caller: CurrentCaller
    ) -> EndpointSecret:
        """Read an endpoint's signing secret; who did stays on record."""
        return await endpoints.reveal_secret(session, policy, caller, endpoint_id, datetime.now(UTC))

    @routes.post("/v1/webhook-endpoints/{endpoint_id}/enable")
    @requires(WRITE)
    async def enable_webhook_endpoint(endpoint_id: EndpointId, session: Transaction, caller: CurrentCaller) -> Endpoint:
        """Enable a webhook endpoint."""
        return await endpoints.switch(session, policy, caller, endpoint_id, enabled=True, now=datetime.now(UTC))

    @routes.post("/v1/webhook-endpoints/{endpoint_id}/disable")
    @requires(WRITE)
    async def disable_webhook_endpoint(
        endpoint_id: EndpointId, session: Transaction, caller: CurrentCaller
    ) -> Endpoint:
        """Disable a webhook endpoint: no new deliveries, unfinished ones are given up when they come due."""
        return await endpoints.switch(session, policy, caller, endpoint_id, enabled=False, now=datetime.now(UTC))

    return routes


def delivery_router() -> Router:
    """Routes of deliveries."""
    routes = Router(tags=["deliveries"])

    @routes.get("/v1/deliveries")
    @requires(READ)
    async def list_deliveries(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        endpoint_id: Annotated[EndpointId | None, Query(description="Of this endpoint.")] = None,
        event_type: Annotated[
            str | None, Query(max_length=PATTERN_LENGTH_MAX, description="Of this type, such as job.created.")
        ] = None,
        status: Annotated[DeliveryStatus | None, Query(description="In this status.")] = None,
        created_from: Annotated[Instant | None, Query(description="Made at or after this instant.")] = None,
        created_before: Annotated[Instant | None, Query(description="Made before this instant.")] = None,
    ) -> Page[Delivery]:
        """List deliveries, newest first."""
        return await deliveries.listed(
            session,
            caller,
            paging,
            endpoint_id=endpoint_id,
            event_type=event_type,
            status=status,
            created_from=created_from,
            created_before=created_before,
        )

    @routes.get("/v1/deliveries/{delivery_id}")
    @requires(READ)
    async def get_delivery(delivery_id: DeliveryId, session: Reading, caller: CurrentCaller) -> DeliveryDetail:
        """Read a delivery with everything that was tried."""
        return await deliveries.get(session, caller, delivery_id)

    return routes
