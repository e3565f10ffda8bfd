"""The settings of the console: read once, validated at start, handed down by `app`."""

from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from shared.chassis.networks import is_here
from shared.chassis.settings import ProcessSettings, VersionedKeys


class Settings(ProcessSettings):
    """The console's own settings, beside those of every process."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_")

    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    database_url: str = Field(
        description="PostgreSQL address, postgresql://user:password@host:port/database; for TLS with ?sslmode=verify-full&sslrootcert=FILE."
    )
    database_pool_size: int = Field(8, ge=2, le=200, description="Connections to the database.")
    sealing_keys: VersionedKeys = Field(
        description="Keys that encrypt the tokens of sessions, <version>:<base64 of 32 bytes>, comma-separated."
    )
    base_url: str = Field(
        description="Address at which browsers reach the console, https://console.example.com: forms from elsewhere are refused."
    )
    allow_http: bool = Field(
        False,
        description="Serve browsers on this machine without TLS: the session cookie is then neither Secure nor bound to the host.",
    )
    identity_url: str = Field(description="Where identity is reached, http://identity:8001.")
    billing_url: str = Field(description="Where billing is reached.")
    jobs_url: str = Field(description="Where jobs is reached.")
    webhooks_url: str = Field(description="Where webhooks is reached.")
    gateway_seconds: float = Field(5, gt=0, le=60, description="Longest time for an answer of a service.")
    session_hours: float = Field(12, gt=0, le=168, description="Hours after which a person must sign in again.")
    session_idle_minutes: float = Field(
        60, gt=0, le=10080, description="Minutes without a page after which a person must sign in again."
    )

    @field_validator("base_url")
    @classmethod
    def _is_base_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
            raise ValueError("expected an address without a path, such as https://console.example.com")
        return url

    @field_validator("allow_http")
    @classmethod
    def _is_of_this_machine(cls, allowed: bool, info: ValidationInfo) -> bool:
        parts = urlsplit(info.data.get("base_url", ""))
        if allowed and not is_here(parts.hostname or "-"):
            raise ValueError(
                "without TLS the console serves browsers of this machine alone: CONSOLE_BASE_URL is another's"
            )
        return allowed

    @property
    def services(self) -> dict[str, str]:
        """Where each service is reached."""
        return {
            "identity": self.identity_url,
            "billing": self.billing_url,
            "jobs": self.jobs_url,
            "webhooks": self.webhooks_url,
        }
