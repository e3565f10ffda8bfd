"""Replays as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.api import Input
from shared.ids import EndpointId
from shared.timestamps import Timestamp
from webhooks.endpoints import EventTypes

REPLAY_RATE_PER_SECOND_MAX = 5_000.0

ReplayKind = Literal["failed", "missing", "filter"]
ReplayStatus = Literal["running", "completed", "cancelled", "failed"]


class ReplayIn(Input):
    """Events of a stretch of time that an endpoint shall get, or get again."""

    endpoint_id: Annotated[EndpointId, ApiField(description="Who gets them.")]
    kind: Annotated[
        ReplayKind,
        ApiField(
            description="`failed`: what was given up. `missing`: what the endpoint wants and never had an attempt that counts: no "
            "delivery was made, or it was given up because the endpoint was off. `filter`: everything that matches, delivered or not."
        ),
    ]
    since: Annotated[Timestamp, ApiField(description="Events made at or after this instant.")]
    until: Annotated[Timestamp | None, ApiField(description="Events made before this instant; null: until now.")] = None
    event_types: Annotated[
        EventTypes | None, ApiField(description="Of these types alone; null: of all that the endpoint wants.")
    ] = None
    rate_per_second: Annotated[
        Annotated[float, ApiField(ge=0.1, le=REPLAY_RATE_PER_SECOND_MAX)] | None,
        ApiField(description="So many deliveries per second at most are queued. Null: as the operator has set it."),
    ] = None
    dry_run: Annotated[bool, ApiField(description="Count what would be sent, and send nothing.")] = False


class Replay(BaseModel):
    """A replay, which goes on in the background. What it queued is delivered like everything else."""

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
    failure: str | None = ApiField(description="Why it stopped: endpoint_disabled, endpoint_deleted.")
    progress: float = ApiField(description="Share of the stretch of time that is done, 0 to 1.")
    examined: int = ApiField(description="Events or deliveries that were looked at.")
    matched: int = ApiField(description="Those of them that are to be sent.")
    queued: int = ApiField(description="Those of them that were queued; what is pending anyway is not queued again.")
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int
