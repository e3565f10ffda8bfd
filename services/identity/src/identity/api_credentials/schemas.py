"""API accounts, API settings and API credentials in the API."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from identity.authentication import PasswordAgain
from identity.merchants import KEY_OVERLAP_SECONDS_MAX, MerchantStatus
from shared.api import Secret
from shared.fields.numbers import OptionalInteger


class ApiAccount(BaseModel):
    """The API Account ID of a merchant with API access, without the key."""

    object: Literal["api_account"] = "api_account"
    merchant_id: str
    business_name: str
    api_account_id: str
    status: MerchantStatus
    livemode: bool
    last_used_at: fields.LastUsedAt
    rotated_at: datetime | None = ApiField(description="When the present key was issued.")
    previous_key_valid_until: datetime | None = ApiField(
        description="Until when the former key is valid; null: it is not."
    )
    calls_24h: int = ApiField(
        description="Requests in the last 24 hours, in all services, about a minute late.", examples=[4120]
    )
    errors_24h: int = ApiField(
        description="Those of them that were answered with a status of 400 or more.", examples=[37]
    )


class ApiSettings(BaseModel):
    """The API access of the merchant that asks."""

    object: Literal["api_settings"] = "api_settings"
    api_access: bool
    api_account_id: str | None = ApiField(description="Null while API access is off.")
    auth_key_hint: str | None = ApiField(description="Parts of the key, to recognise it.")
    revealable: bool = ApiField(
        description="Whether the key can be revealed. Where it cannot, a rotation shows a new one.", examples=[True]
    )
    rotated_at: datetime | None = ApiField(description="When the present key was issued.")
    previous_key_valid_until: datetime | None = ApiField(
        description="Until when the former key is valid; null: it is not."
    )
    previous_key_last_used_at: datetime | None = ApiField(
        description="The latest request that was accepted with the former key since it was replaced, to within about a minute; null: "
        "none is known.",
        examples=["2030-01-31T09:00:00Z"],
    )
    last_used_at: fields.LastUsedAt
    livemode: bool


class OwnLocation(BaseModel):
    """A location that jobs of the merchant may name."""

    object: Literal["location"] = "location"
    id: str
    name: str
    reference_id: str | None = ApiField(description="The delivery company's own id of it.", examples=["MTL-1"])
    is_default: bool = ApiField(description="Whether it is that of jobs which name none.", examples=[True])


class RevealIn(PasswordAgain):
    """The merchant's password, unless its session is stepped up."""


class RotateIn(PasswordAgain):
    """The merchant's password, unless its session is stepped up, and how long the former key stays valid."""

    overlap_seconds: OptionalInteger = ApiField(
        None,
        ge=0,
        le=KEY_OVERLAP_SECONDS_MAX,
        description="Seconds that the former key stays valid; null: the default, 24 h.",
    )


class ApiCredentials(Secret):
    """A merchant's API credentials."""

    object: Literal["api_credentials"] = "api_credentials"
    api_account_id: str
    api_auth_key: str
    previous_key_valid_until: datetime | None = ApiField(
        description="Until when the former key is valid; null: it is not."
    )
