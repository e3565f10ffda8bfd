"""Replays as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, field_validator
from pydantic import Field as ApiField

from shared.api import Input
from shared.fields.numbers import Flag, Number, require_whole_number
from shared.ids import EndpointId
from shared.timestamps import Timestamp
from webhooks.deliveries import DeliveryConditions
from webhooks.endpoints import EventTypes

REPLAY_RATE_PER_SECOND_MAX = 5_000.0

ReplayKind = Literal["failed", "missing", "filter", "deliveries"]
ReplayFailure = Literal["endpoint_disabled", "endpoint_deleted", "gave_up"]
ReplayStatus = Literal["running", "completed", "cancelled", "failed"]


class DeliveriesToReplay(DeliveryConditions):
    """Which deliveries are sent again: the filters of `GET /v1/deliveries`."""

    @field_validator("response_status", mode="before")
    @classmethod
    def _require_json_number(cls, value: object) -> object:
        return require_whole_number(value)


class ReplayIn(Input):
    """What is to be sent, to which endpoint, and of which time."""

    endpoint_id: Annotated[
        EndpointId | None,
        ApiField(description="The endpoint that gets them; null, with `deliveries` only: each goes to its own."),
    ] = None
    kind: Annotated[
        ReplayKind,
        ApiField(
            description="`failed`: deliveries that were given up. `missing`: events that the endpoint wants and was never sent: there is "
            "no delivery, or it was given up because the endpoint was disabled. `filter`: all events that match, delivered or not. "
            "`deliveries`: the deliveries that `GET /v1/deliveries` lists with these filters, also of events that the endpoint does not "
            "want any more; one that waits for a retry is attempted at once."
        ),
    ]
    since: Annotated[
        Timestamp | None,
        ApiField(
            description="Only events at or after this instant; null, with `deliveries` only: all that are stored."
        ),
    ] = None
    until: Annotated[Timestamp | None, ApiField(description="Only events before this instant; null: until now.")] = None
    event_types: Annotated[
        EventTypes | None,
        ApiField(
            description="Only events of these types; null: of all types that the endpoint wants. Not with `deliveries`."
        ),
    ] = None
    deliveries: Annotated[
        DeliveriesToReplay | None,
        ApiField(
            description="With the kind `deliveries` only: which ones, besides endpoint and time; null: all of them."
        ),
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
    endpoint_id: str | None = ApiField(description="The endpoint that gets them; null: each delivery goes to its own.")
    kind: ReplayKind
    since: datetime
    until: datetime
    event_types: list[str] | None
    deliveries: DeliveriesToReplay | None = ApiField(description="Which deliveries; null: all, or another kind.")
    rate_per_second: float
    dry_run: bool
    status: ReplayStatus
    failure: ReplayFailure | None = ApiField(description="Why it failed.")
    progress: float = ApiField(description="Part of the time range that is done, 0 to 1.")
    examined: int = ApiField(description="Events or deliveries that were examined.")
    matched: int = ApiField(description="Those of them that match.")
    queued: int = ApiField(description="Those of them that were queued, or are attempted at once.")
    skipped: int = ApiField(
        description="Those of them that cannot be sent: under way already, of an endpoint that is disabled or deleted, or of an event that "
        "is no longer stored. In a dry run: of such an endpoint."
    )
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int
