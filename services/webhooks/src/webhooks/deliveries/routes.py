"""Routes of deliveries."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from shared.api import CurrentActor, CurrentCaller, Page, PageRequest, Reading, Router, Searching, Transaction, requires
from shared.crypto.encryptor import Encryptor
from shared.fields.text import REFERENCE_CHARS_MAX, QueryText
from shared.ids import DeliveryId, EndpointId, EventId, JobId, LocationId
from shared.timestamps import Timestamp
from webhooks import deliveries
from webhooks.deliveries.schemas import (
    Delivery,
    DeliveryDetail,
    DeliveryFilters,
    DeliveryStatus,
    ResponseClass,
)
from webhooks.endpoints import PATTERN_LENGTH_MAX, READ, REPLAY
from webhooks.http_client import Cause

EventTypeName = Annotated[
    str | None, Query(max_length=PATTERN_LENGTH_MAX, description="Only of this event type, such as job.created.")
]
ResponseStatus = Annotated[
    int | None, Query(ge=100, le=599, description="Only those whose last response has this status.")
]
JobReference = Annotated[
    QueryText,
    Query(
        min_length=1,
        max_length=REFERENCE_CHARS_MAX,
        description="Only of events after which their job had exactly this `reference_id`.",
        examples=["C-1001"],
    ),
]


def router(encryptor: Encryptor) -> Router:
    """The routes. `encryptor` decrypts the names of custom headers."""
    routes = Router(tags=["deliveries"])

    @routes.get("/v1/deliveries")
    @requires(READ)
    async def list_deliveries(
        session: Searching,
        caller: CurrentCaller,
        paging: PageRequest,
        endpoint_id: Annotated[EndpointId | None, Query(description="Only to this endpoint.")] = None,
        job_id: Annotated[JobId | None, Query(description="Only of events of this job.")] = None,
        job_reference: JobReference = None,
        event_id: Annotated[EventId | None, Query(description="Only of this event.")] = None,
        event_type: EventTypeName = None,
        status: Annotated[DeliveryStatus | None, Query(description="Only with this status.")] = None,
        cause: Annotated[
            Cause | None, Query(description="Only those whose last attempt failed because of this.")
        ] = None,
        response_class: Annotated[
            ResponseClass | None, Query(description="Only those whose last response has a status of this class.")
        ] = None,
        response_status: ResponseStatus = None,
        location_id: Annotated[LocationId | None, Query(description="Only of events of this location.")] = None,
        created_from: Annotated[Timestamp | None, Query(description="Only of events at or after this instant.")] = None,
        created_before: Annotated[Timestamp | None, Query(description="Only of events before this instant.")] = None,
    ) -> Page[Delivery]:
        """List deliveries, newest first.

        With `event_type`, `location_id`, `response_class`, `response_status`, `status=delivered`, or `cause` and `status` together a page
        examines 5,000 deliveries, with `job_id` or `job_reference` 500 events: it may be short or empty and still not be the last. Continue
        with `next_cursor` while `has_more`.
        """
        asked = DeliveryFilters(
            endpoint_id=endpoint_id,
            job_id=job_id,
            job_reference=job_reference,
            event_id=event_id,
            event_type=event_type,
            status=status,
            cause=cause,
            response_class=response_class,
            response_status=response_status,
            location_id=location_id,
            created_from=created_from,
            created_before=created_before,
        )
        return await deliveries.list_deliveries(session, caller, paging, asked, now=datetime.now(UTC))

    @routes.get("/v1/deliveries/{delivery_id}")
    @requires(READ)
    async def get_delivery(delivery_id: DeliveryId, session: Reading, caller: CurrentCaller) -> DeliveryDetail:
        """Read a delivery with its attempts and the request of the last one.

        Signatures and the values of custom headers are never shown here.
        """
        return await deliveries.get(session, encryptor, caller, delivery_id)

    @routes.post("/v1/deliveries/{delivery_id}/resend", status_code=202)
    @requires(REPLAY)
    async def resend_delivery(delivery_id: DeliveryId, session: Transaction, actor: CurrentActor) -> Delivery:
        """Send a delivery again, whatever its status; one that waits for a retry is attempted at once.

        409 while it is under way, if its endpoint is disabled or deleted, and if its event is no longer stored.
        """
        return await deliveries.resend(session, actor, delivery_id)

    return routes
