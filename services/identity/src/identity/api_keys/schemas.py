"""User API keys in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input, Secret
from shared.fields.numbers import Flag
from shared.fields.text import Name
from shared.timestamps import Timestamp

ApiKeyStatus = Literal["active", "revoked"]


class ApiKeyIn(Input):
    """A user API key to create. It has at most the permissions of its owner."""

    name: Name = ApiField(examples=["ERP"])
    scopes: fields.PermissionCodes = ApiField(
        min_length=1, description="Only permissions that you hold.", examples=[["orders"]]
    )
    expires_at: Timestamp | None = ApiField(
        None,
        description="Null: valid until it is revoked. A key that another key makes expires and is revoked with it, at the latest.",
    )
    livemode: Flag | None = ApiField(
        None, description="The mode of the tenant, which is the default; another value is refused."
    )


class ApiKey(BaseModel):
    """A user API key. Only the answer that creates it has the key itself."""

    object: Literal["api_key"] = "api_key"
    id: str
    tenant_id: str
    user_id: str
    name: str
    scopes: list[str]
    hint: str = ApiField(description="Parts of the key, to recognise it.")
    status: ApiKeyStatus
    expires_at: datetime | None
    last_used_at: fields.LastUsedAt
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int


class CreatedApiKey(Secret, ApiKey):
    """A new user API key."""

    api_key: str = ApiField(description="The key. It is not shown again.")
