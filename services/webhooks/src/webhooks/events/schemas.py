"""Events and event types as the API shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


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
