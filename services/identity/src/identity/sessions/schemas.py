"""A person's open sessions in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField


class OpenSession(BaseModel):
    """A session that has neither ended nor expired."""

    object: Literal["open_session"] = "open_session"
    id: str
    current: bool = ApiField(description="Whether this request was made in it.", examples=[True])
    address: str = ApiField(description="From where the person logged in.", examples=["203.0.113.7"])
    user_agent: str = ApiField(
        description="What the client called itself.",
        examples=["Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"],
    )
    device: str = ApiField(
        description="The same in a few words; they say what the client claims, no more.", examples=["Firefox on Linux"]
    )
    created_at: datetime = ApiField(description="When the person logged in.")
    last_seen_at: datetime = ApiField(
        description="When it last got a token, so to within the life of one: five minutes."
    )
    expires_at: datetime = ApiField(description="When it expires.")
