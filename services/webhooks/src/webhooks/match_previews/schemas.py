"""Previews as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from shared.api import Input
from shared.timestamps import Timestamp
from webhooks.endpoints import EventTypes, LocationsIn


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
