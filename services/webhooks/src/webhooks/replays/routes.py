"""Routes of replays."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from shared.api import CurrentActor, CurrentCaller, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import EndpointId, ReplayId
from webhooks import replays
from webhooks.endpoints import REPLAY
from webhooks.replays.operations import ReplayLimits
from webhooks.replays.schemas import Replay, ReplayIn, ReplayStatus


def router(limits: ReplayLimits) -> Router:
    """The routes."""
    routes = Router(tags=["deliveries"])

    @routes.post("/v1/replays", status_code=201)
    @requires(REPLAY)
    async def create_replay(wanted: ReplayIn, session: Transaction, actor: CurrentActor) -> Replay:
        """Send events to an endpoint again, or for the first time. This happens in the background.

        With `dry_run` nothing is sent: the counts say what would be sent.
        """
        return await replays.create(session, limits, actor, wanted, datetime.now(UTC))

    @routes.get("/v1/replays")
    @requires(REPLAY)
    async def list_replays(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        endpoint_id: Annotated[EndpointId | None, Query(description="Only to this endpoint.")] = None,
        status: Annotated[ReplayStatus | None, Query(description="Only with this status.")] = None,
    ) -> Page[Replay]:
        """List replays, newest first."""
        return await replays.list_replays(session, caller, paging, endpoint_id=endpoint_id, status=status)

    @routes.get("/v1/replays/{replay_id}")
    @requires(REPLAY)
    async def get_replay(replay_id: ReplayId, session: Reading, caller: CurrentCaller) -> Replay:
        """Read a replay with its progress."""
        return await replays.get(session, caller, replay_id)

    @routes.post("/v1/replays/{replay_id}/cancel")
    @requires(REPLAY)
    async def cancel_replay(replay_id: ReplayId, session: Transaction, actor: CurrentActor) -> Replay:
        """Cancel a replay; deliveries that it has queued are still sent. 409 if it has completed or failed."""
        return await replays.cancel(session, actor, replay_id, datetime.now(UTC))

    return routes
