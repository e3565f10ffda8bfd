"""Notifications as payment providers send them."""

from pydantic import BaseModel, ConfigDict, Field


class ProviderNotification(BaseModel):
    """What a payment provider sends, in its own words."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"id": "evt_1", "object": "event"}]})

    id: str = Field(description="The provider's own id of it.", examples=["evt_1"])
