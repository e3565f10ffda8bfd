"""The settings of billing: read once, validated at start, handed down by `app`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from billing.subscriptions import TRIAL_DAYS_MAX
from shared.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Billing's own settings, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="BILLING_")

    port: int = Field(8002, ge=1, le=65535, description="Port to listen on.")
    trial_days: int = Field(
        14,
        ge=0,
        le=TRIAL_DAYS_MAX,
        description="Length of a trial, in days, of a tenant that was created without one of its own.",
    )
