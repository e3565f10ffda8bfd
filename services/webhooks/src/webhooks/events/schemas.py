"""Events and event types as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.api import Input
from shared.timestamps import Timestamp
from webhooks.endpoints import EventTypes, LocationsIn


class FeedEvent(BaseModel):
    """An event as it is delivered to endpoints."""

    object: Literal["event"] = "event"
    id: str = ApiField(description="The `webhook-id` of its deliveries.")
    livemode: bool
    location_ids: list[str]
    type: str
    timestamp: datetime
    data: dict[str, Any] = ApiField(description="As in the delivered body; `GET /v1/event-types` describes it.")
    created_at: datetime


class Feed(BaseModel):
    """Events in the order of their publication."""

    object: Literal["list"] = "list"
    data: list[FeedEvent]
    has_more: bool = ApiField(description="Whether there are more events now; otherwise ask again later.")
    next_cursor: str = ApiField(
        description="Where to continue, with the same filters; never null. Store it after you have processed the events before it."
    )


class MatchPreviewIn(Input):
    """What an endpoint would subscribe to, and the time range that is asked about."""

    event_types: EventTypes
    location_ids: LocationsIn
    since: Annotated[
        Timestamp | None, ApiField(description="Only events at or after this instant; null: of the last 24 hours.")
    ] = None
    until: Annotated[Timestamp | None, ApiField(description="Only events before this instant; null: until now.")] = None


class TypeMatches(BaseModel):
    """Events of one type."""

    event_type: str
    events: int = ApiField(description="Events of this type.")
    matched: int = ApiField(description="Those of them that the endpoint would have got.")


class MatchPreview(BaseModel):
    """How many events of a time range an endpoint would have got."""

    object: Literal["webhook_match_preview"] = "webhook_match_preview"
    since: datetime
    until: datetime
    events: int = ApiField(description="Events of the time range, at all locations.")
    matched: int = ApiField(description="Those of them that the endpoint would have got.")
    by_type: list[TypeMatches] = ApiField(description="The event types of the range, by name.")
    is_partial: bool = ApiField(
        description="True if there are more events than are examined (the newest 20,000 of the days asked for): the numbers cover a part."
    )


class EventType(BaseModel):
    """An event type."""

    object: Literal["event_type"] = "event_type"
    name: str
    description: str
    is_delivered: bool = ApiField(
        description="Whether endpoints can subscribe to it. Other types are published only to Kafka, for the operator's systems."
    )
    topic: str | None = ApiField(description="Kafka topic to which it is published.")
    json_schema: dict[str, Any] = ApiField(
        description="JSON Schema (2020-12) of the delivered body, or of the record's value if it is not delivered."
    )
    example: dict[str, Any]
