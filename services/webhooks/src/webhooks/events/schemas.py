"""Events, and the catalogue of their types, as the API shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


class FeedEvent(BaseModel):
    """An event as endpoints get it."""

    object: Literal["event"] = "event"
    id: str = ApiField(description="What deliveries of it have as `webhook-id`.")
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
    has_more: bool = ApiField(description="Whether to ask again at once; else ask again when it suits you.")
    next_cursor: str = ApiField(
        description="Where to go on, with the same filters; there is always one. Keep it when what came before it is safe with you."
    )


class EventType(BaseModel):
    """One type of event."""

    object: Literal["event_type"] = "event_type"
    name: str
    description: str
    is_delivered: bool = ApiField(
        description="Whether endpoints can have it. Others are published to Kafka alone, for systems of the operator's."
    )
    topic: str | None = ApiField(description="Kafka topic that it is published to.")
    json_schema: dict[str, Any] = ApiField(
        description="JSON Schema (2020-12) of the delivered body, or of the record's value where it is not delivered."
    )
    example: dict[str, Any]
