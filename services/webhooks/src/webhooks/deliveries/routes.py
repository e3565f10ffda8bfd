"""Routes of deliveries."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from shared.api import CurrentActor, CurrentCaller, Page, PageRequest, Reading, Router, Searching, Transaction, requires
from shared.crypto.encryptor import Encryptor
from shared.ids import DeliveryId
from webhooks import deliveries
from webhooks.deliveries.schemas import Delivery, DeliveryDetail, DeliveryFilters
from webhooks.endpoints import READ, REPLAY


def router(encryptor: Encryptor) -> Router:
    """The routes. `encryptor` decrypts the names of custom headers."""
    routes = Router(tags=["deliveries"])

    @routes.get("/v1/deliveries")
    @requires(READ)
    async def list_deliveries(
        session: Searching,
        caller: CurrentCaller,
        paging: PageRequest,
        asked: Annotated[DeliveryFilters, Query()],
    ) -> Page[Delivery]:
        """List deliveries, newest first.

        With `event_type`, `location_id`, `response_class`, `response_status`, `status=delivered`, or `cause` and `status` together a page
        examines 5,000 deliveries, with `job_id` or `job_reference` 500 events: it may be short or empty and still not be the last. Continue
        with `next_cursor` while `has_more`.
        """
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
