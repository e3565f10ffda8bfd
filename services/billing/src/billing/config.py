"""Billing's settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from billing.subscriptions import TRIAL_DAYS_MAX
from shared.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """What billing needs to know beyond what every service does."""

    model_config = SettingsConfigDict(env_prefix="BILLING_")

    port: int = Field(8002, ge=1, le=65535, description="Port to listen on.")
    trial_days: int = Field(
        14,
        ge=0,
        le=TRIAL_DAYS_MAX,
        description="Length of a trial, in days, of a tenant that was made without one of its own.",
    )
