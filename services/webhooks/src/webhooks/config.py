"""Settings of webhooks; `README.md` lists their environment variables."""

import math
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FilePath, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.chassis.networks import Network, parse_networks
from shared.chassis.settings import Networks, VersionedKeys
from shared.service.settings import ServiceSettings

RETRIES_MAX = 50
RETRY_SECONDS_MAX = 7 * 24 * 3600
LEASE_SECONDS_MIN = 0.5
RETENTION_DAYS_MIN = 15


def parse_schedule(value: str) -> tuple[float, ...]:
    """Seconds between attempts, read from `5, 300, 1800` or `[5, 300, 1800]`. Raises `ValueError`."""
    schedule = tuple(float(entry) for entry in value.strip().strip("[]").split(",") if entry.strip())
    if len(schedule) > RETRIES_MAX:
        raise ValueError(f"at most {RETRIES_MAX} retries")
    if not all(math.isfinite(seconds) and 0 < seconds <= RETRY_SECONDS_MAX for seconds in schedule):
        raise ValueError(f"expected seconds from 0 to {RETRY_SECONDS_MAX}, comma-separated")
    return schedule


def _check_schedule(value: str) -> str:
    parse_schedule(value)
    return value


class Settings(ServiceSettings):
    """Settings of webhooks alone."""

    model_config = SettingsConfigDict(env_prefix="WEBHOOKS_")

    port: int = Field(8004, ge=1, le=65535, description="Port to listen on.")
    sealing_keys: VersionedKeys = Field(
        description="Keys that encrypt endpoint secrets and headers in the database, <version>:<base64 of 32 bytes>, comma-separated."
    )
    allow_http: bool = Field(False, description="Whether endpoints may use http; by default only https.")
    allowed_private_networks: Networks = Field(
        "", description="Networks (CIDR, comma-separated) that webhooks may reach although they are not public."
    )
    retry_schedule_seconds: Annotated[str, NoDecode, AfterValidator(_check_schedule)] = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Seconds between the attempts of a delivery, comma-separated; each varies by 20 % either way.",
    )
    attempt_timeout_seconds: float = Field(
        15.0, gt=0, le=60, description="Time limit of a whole attempt: connection, request and complete response."
    )
    dns_timeout_seconds: float = Field(5.0, gt=0, le=60, description="Time limit of the look-up of a receiver's name.")
    connect_timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Time limit of making a connection, including TLS."
    )
    first_byte_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="Time limit from the request to the first byte of the response."
    )
    ca_file: FilePath | None = Field(
        None, description="Certificate authorities (PEM) that are trusted in addition to those of the system."
    )
    in_flight_max: int = Field(
        2048,
        ge=4,
        le=20_000,
        description="Attempts in flight at once in a process; a quarter of them is reserved for retries.",
    )
    endpoint_in_flight_max: int = Field(
        768,
        ge=1,
        le=5000,
        description="First attempts in flight at once to one endpoint, from one process, if it answers in time; fewer retries.",
    )
    lease_seconds: float = Field(
        6.0,
        ge=LEASE_SECONDS_MIN,
        le=300,
        description="Seconds for which a worker holds a delivery without renewing its lease; then another worker takes it over.",
    )
    poll_seconds: float = Field(0.2, gt=0, le=10, description="Seconds between two checks for due deliveries.")
    retention_days: int = Field(
        30,
        ge=RETENTION_DAYS_MIN,
        le=3650,
        description="Days for which events, deliveries and attempts are kept; must be longer than Kafka keeps events.",
    )
    disable_after_seconds: float = Field(
        432_000.0,
        gt=0,
        description="An endpoint without a success for this time is disabled, if enough attempts have failed; it is warned at half of it.",
    )
    disable_failures_min: int = Field(
        20, ge=1, description="Attempts that must have failed before an endpoint is disabled."
    )
    breaker_failures: int = Field(
        10, ge=1, le=1000, description="Failures in a row after which only probes are sent to an endpoint."
    )
    endpoints_max: int = Field(50, ge=1, le=1000, description="Endpoints that one tenant may have.")
    replays_max: int = Field(10, ge=1, le=1000, description="Replays of one tenant that may run at once.")
    replay_rate_per_second: float = Field(
        100.0, gt=0, le=5000, description="Deliveries per second that a replay queues if it sets no rate of its own."
    )

    @model_validator(mode="after")
    def _check_timeouts(self) -> Self:
        if self.connect_timeout_seconds > self.attempt_timeout_seconds:
            raise ValueError("WEBHOOKS_CONNECT_TIMEOUT_SECONDS must not exceed WEBHOOKS_ATTEMPT_TIMEOUT_SECONDS")
        return self

    @property
    def allowed_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.allowed_private_networks)

    @property
    def retry_schedule(self) -> tuple[float, ...]:
        return parse_schedule(self.retry_schedule_seconds)
