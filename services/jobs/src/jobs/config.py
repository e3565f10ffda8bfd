"""Settings of the jobs service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.config import ServiceSettings


class Settings(ServiceSettings):
    """All of them are common to the services; `README.md` lists the environment variables."""

    model_config = SettingsConfigDict(env_prefix="JOBS_")

    port: int = Field(8003, ge=1, le=65535, description="Port to listen on.")
