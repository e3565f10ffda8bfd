"""Deliveries and replays: looked at, sent again."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from shared.http import CurrentCaller, Page, PageRequest, Reading, Router, Searching, Transaction, requires
from shared.ids import DeliveryId, EndpointId, LocationId, ReplayId
from shared.instants import Instant
from webhooks import deliveries, replays
from webhooks.domain.matching import PATTERN_LENGTH_MAX
from webhooks.replays import Limits
from webhooks.views.deliveries import Delivery, DeliveryDetail, DeliveryStatus
from webhooks.views.replays import Replay, ReplayIn, ReplayStatus

READ = "settings.webhooks.read"
REPLAY = replays.REPLAY


def router(limits: Limits) -> Router:
    """The routes."""
    routes = Router(tags=["deliveries"])
    _add_deliveries(routes)
    _add_replays(routes, limits)
    return routes


def _add_deliveries(routes: Router) -> None:
    @routes.get("/v1/deliveries")
    @requires(READ)
    async def list_deliveries(
        session: Searching,
        caller: CurrentCaller,
        paging: PageRequest,
        endpoint_id: Annotated[EndpointId | None, Query(description="Of this endpoint.")] = None,
        event_type: Annotated[
            str | None, Query(max_length=PATTERN_LENGTH_MAX, description="Of this type, such as job.created.")
        ] = None,
        status: Annotated[DeliveryStatus | None, Query(description="In this status.")] = None,
        location_id: Annotated[LocationId | None, Query(description="Of events of this location.")] = None,
        created_from: Annotated[Instant | None, Query(description="Made at or after this instant.")] = None,
        created_before: Annotated[Instant | None, Query(description="Made before this instant.")] = None,
    ) -> Page[Delivery]:
        """List deliveries, newest first.

        By `event_type`, `location_id` and `status=delivered` 5,000 deliveries are looked through for a page: it may be short, even empty,
        and not the last. Go on with `next_cursor` while `has_more`.
        """
        return await deliveries.listed(
            session,
            caller,
            paging,
            endpoint_id=endpoint_id,
            event_type=event_type,
            status=status,
            location_id=location_id,
            created_from=created_from,
            created_before=created_before,
            now=datetime.now(UTC),
        )

    @routes.get("/v1/deliveries/{delivery_id}")
    @requires(READ)
    async def get_delivery(delivery_id: DeliveryId, session: Reading, caller: CurrentCaller) -> DeliveryDetail:
        """Read a delivery with everything that was tried."""
        return await deliveries.get(session, caller, delivery_id)

    @routes.post("/v1/deliveries/{delivery_id}/resend", status_code=202)
    @requires(REPLAY)
    async def resend_delivery(delivery_id: DeliveryId, session: Transaction, caller: CurrentCaller) -> Delivery:
        """Send a delivery again, whatever became of it; one that waits for its retry is tried at once.

        409 while it is under way, when its endpoint is disabled or deleted, and when its event is not kept any more.
        """
        return await deliveries.resend(session, caller, delivery_id, datetime.now(UTC))


def _add_replays(routes: Router, limits: Limits) -> None:
    @routes.post("/v1/replays", status_code=201)
    @requires(REPLAY)
    async def create_replay(wanted: ReplayIn, session: Transaction, caller: CurrentCaller) -> Replay:
        """Have events sent to an endpoint again, or for the first time; it goes on in the background.

        With `dry_run` nothing is sent: the counts say what would be.
        """
        return await replays.order(session, limits, caller, wanted, datetime.now(UTC))

    @routes.get("/v1/replays")
    @requires(REPLAY)
    async def list_replays(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        endpoint_id: Annotated[EndpointId | None, Query(description="To this endpoint.")] = None,
        status: Annotated[ReplayStatus | None, Query(description="In this status.")] = None,
    ) -> Page[Replay]:
        """List replays, newest first."""
        return await replays.listed(session, caller, paging, endpoint_id=endpoint_id, status=status)

    @routes.get("/v1/replays/{replay_id}")
    @requires(REPLAY)
    async def get_replay(replay_id: ReplayId, session: Reading, caller: CurrentCaller) -> Replay:
        """Read a replay and how far it has come."""
        return await replays.get(session, caller, replay_id)

    @routes.post("/v1/replays/{replay_id}/cancel")
    @requires(REPLAY)
    async def cancel_replay(replay_id: ReplayId, session: Transaction, caller: CurrentCaller) -> Replay:
        """Stop a replay; what it has queued is delivered all the same. 409 when it has ended otherwise."""
        return await replays.cancel(session, caller, replay_id, datetime.now(UTC))
