"""Replays as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.api import Input
from shared.fields.numbers import Flag, Number
from shared.ids import EndpointId
from shared.timestamps import Timestamp
from webhooks.endpoints import EventTypes

REPLAY_RATE_PER_SECOND_MAX = 5_000.0

ReplayKind = Literal["failed", "missing", "filter"]
ReplayFailure = Literal["endpoint_disabled", "endpoint_deleted", "gave_up"]
ReplayStatus = Literal["running", "completed", "cancelled", "failed"]


class ReplayIn(Input):
    """Events of a time range that are to be sent to an endpoint."""

    endpoint_id: Annotated[EndpointId, ApiField(description="The endpoint that gets them.")]
    kind: Annotated[
        ReplayKind,
        ApiField(
            description="`failed`: deliveries that were given up. `missing`: events that the endpoint wants and was never sent: there is "
            "no delivery, or it was given up because the endpoint was disabled. `filter`: all events that match, delivered or not."
        ),
    ]
    since: Annotated[Timestamp, ApiField(description="Only events at or after this instant.")]
    until: Annotated[Timestamp | None, ApiField(description="Only events before this instant; null: until now.")] = None
    event_types: Annotated[
        EventTypes | None,
        ApiField(description="Only events of these types; null: of all types that the endpoint wants."),
    ] = None
    rate_per_second: Annotated[
        Annotated[Number, ApiField(ge=0.1, le=REPLAY_RATE_PER_SECOND_MAX)] | None,
        ApiField(description="Deliveries per second that are queued at most. Null: the operator's rate."),
    ] = None
    dry_run: Annotated[Flag, ApiField(description="Count what would be sent, and send nothing.")] = False


class Replay(BaseModel):
    """A replay. It runs in the background and queues ordinary deliveries."""

    object: Literal["replay"] = "replay"
    id: str
    livemode: bool
    endpoint_id: str
    kind: ReplayKind
    since: datetime
    until: datetime
    event_types: list[str] | None
    rate_per_second: float
    dry_run: bool
    status: ReplayStatus
    failure: ReplayFailure | None = ApiField(description="Why it failed.")
    progress: float = ApiField(description="Part of the time range that is done, 0 to 1.")
    examined: int = ApiField(description="Events or deliveries that were examined.")
    matched: int = ApiField(description="Those of them that match.")
    queued: int = ApiField(description="Those of them that were queued; pending deliveries are not queued again.")
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int
