"""Settings of a process: read once from the environment at the start, and validated with messages that name the variable.

Settings of one service have its prefix (`JOBS_DATABASE_URL`); settings of all services of an installation begin with `WAYBILL_`.
"""

import base64
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.chassis.networks import parse_networks

Role = Literal["api", "consumers", "relay", "worker"]
ALL_ROLES: frozenset[Role] = frozenset({"api", "consumers", "relay", "worker"})

SECRET_BYTES = 32


def _roles(value: str) -> str:
    names = {name.strip() for name in value.split(",") if name.strip()}
    unknown = names - ALL_ROLES
    if unknown or not names:
        raise ValueError(f"expected a comma-separated subset of {', '.join(sorted(ALL_ROLES))}")
    return value


def _decode_secret(encoded: str) -> bytes:
    try:
        secret = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise ValueError("expected base64") from error
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"expected {SECRET_BYTES} bytes of base64, got {len(secret)}")
    return secret


def parse_keys(value: str) -> dict[int, bytes]:
    """`2:<base64>,1:<base64>` → {2: …, 1: …}; the highest version is the current one. Raises `ValueError`."""
    keys: dict[int, bytes] = {}
    for entry in value.split(","):
        version, colon, encoded = entry.strip().partition(":")
        if not colon or not version.isdigit():
            raise ValueError("expected a comma-separated list of <version>:<base64 of 32 bytes>")
        keys[int(version)] = _decode_secret(encoded)
    return keys


def secret_bytes(value: SecretStr) -> bytes:
    """The bytes of a `Secret32`. Raises `ValueError`."""
    return _decode_secret(value.get_secret_value())


def _check_networks(value: str) -> str:
    parse_networks(value)
    return value


def _check_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value)
    return value


def _check_keys(value: SecretStr) -> SecretStr:
    parse_keys(value.get_secret_value())
    return value


Networks = Annotated[str, NoDecode, AfterValidator(_check_networks)]
"""Setting: networks in CIDR notation, comma-separated."""
Secret32 = Annotated[SecretStr, AfterValidator(_check_secret)]
"""Setting: 32 bytes in base64."""
VersionedKeys = Annotated[SecretStr, AfterValidator(_check_keys)]
"""Setting: `2:<base64 of 32 bytes>,1:<…>`. The highest version encrypts new values; the others only decrypt."""


class ProcessSettings(BaseSettings):
    """The settings of a process that serves HTTP. Environment names: the service's prefix, or `WAYBILL_` where an alias says so."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(ge=1, le=65535, description="Port to listen on.")
    requests_in_flight_max: int = Field(
        512, ge=1, description="Requests under way at once; beyond, 503 with Retry-After."
    )
    requests_in_flight_per_address_max: int = Field(
        256,
        ge=1,
        validation_alias="WAYBILL_REQUESTS_IN_FLIGHT_PER_ADDRESS_MAX",
        description="Requests of one address under way at once in a process; beyond, 429 with Retry-After.",
    )
    connections_per_address_max: int = Field(
        512,
        ge=1,
        validation_alias="WAYBILL_CONNECTIONS_PER_ADDRESS_MAX",
        description="Connections of one address to a process; one more closes the one that has waited longest for its client.",
    )
    head_bytes_max: int = Field(
        32 * 1024,
        ge=1024,
        validation_alias="WAYBILL_HEAD_BYTES_MAX",
        description="Largest head of a request, and most bytes of fields after a body; beyond, 431.",
    )
    head_fields_max: int = Field(
        100,
        ge=10,
        validation_alias="WAYBILL_HEAD_FIELDS_MAX",
        description="Most header fields of a request, and most fields after a body; beyond, 431.",
    )
    head_seconds: float = Field(
        10,
        gt=0,
        validation_alias="WAYBILL_HEAD_SECONDS",
        description="Longest time from the first byte of a request, or from a connection's start, to the end of the head; beyond, 408.",
    )
    body_idle_seconds: float = Field(
        10,
        gt=0,
        validation_alias="WAYBILL_BODY_IDLE_SECONDS",
        description="Longest time in which nothing arrives of a body that is not complete; beyond, 408.",
    )
    body_seconds: float = Field(
        60,
        gt=0,
        validation_alias="WAYBILL_BODY_SECONDS",
        description="Longest time for a whole body, except a file's; beyond, 408.",
    )
    unfinished_head_bytes_max: int = Field(
        16 * 1024 * 1024,
        ge=64 * 1024,
        validation_alias="WAYBILL_UNFINISHED_HEAD_BYTES_MAX",
        description="Bytes of heads that are not complete, in a process; beyond, 503 for the slowest client of the address with most.",
    )
    requests_per_turn_max: int = Field(
        16,
        ge=1,
        validation_alias="WAYBILL_REQUESTS_PER_TURN_MAX",
        description="Requests begun in one turn of a process's event loop. If more wait, and other addresses have some, one by one.",
    )
    first_requests_per_turn_max: int = Field(
        1,
        ge=1,
        validation_alias="WAYBILL_FIRST_REQUESTS_PER_TURN_MAX",
        description="The same for first requests of connections, and for those sent before the answer to an earlier one.",
    )
    arriving_bytes_per_credential_max: int = Field(
        8 * 1024 * 1024,
        ge=64 * 1024,
        validation_alias="WAYBILL_ARRIVING_BYTES_PER_CREDENTIAL_MAX",
        description="Bytes that have arrived of one credential's bodies that are not complete, in a process; beyond, 429.",
    )

    roles: Annotated[str, NoDecode, AfterValidator(_roles)] = Field(
        "api,consumers,relay,worker",
        validation_alias="WAYBILL_ROLES",
        description="Which parts run in this process: a subset of api, consumers, relay, worker.",
    )
    body_bytes_max: int = Field(
        256 * 1024, ge=1024, validation_alias="WAYBILL_BODY_BYTES_MAX", description="Largest request body."
    )
    write_seconds: float = Field(
        30,
        gt=0,
        validation_alias="WAYBILL_WRITE_SECONDS",
        description="Seconds in which a client reads the 64 kB that wait for it; else its connection is closed.",
    )
    unread_bytes_max: int = Field(
        32 * 1024 * 1024,
        ge=64 * 1024,
        validation_alias="WAYBILL_UNREAD_BYTES_MAX",
        description="Bytes of answers that wait in a process to be read; beyond, the slowest client of the address with most is closed.",
    )
    public_body_bytes_max: int = Field(
        16 * 1024,
        ge=1024,
        validation_alias="WAYBILL_PUBLIC_BODY_BYTES_MAX",
        description="Largest body of a request for which no credentials are needed.",
    )
    shutdown_seconds: float = Field(
        10, gt=0, validation_alias="WAYBILL_SHUTDOWN_SECONDS", description="Bound on each step of an orderly stop."
    )
    drain_seconds: float = Field(
        0,
        ge=0,
        validation_alias="WAYBILL_DRAIN_SECONDS",
        description="Seconds that a stopping process still serves while /readyz already says no.",
    )
    trusted_proxies: Networks = Field(
        "",
        validation_alias="WAYBILL_TRUSTED_PROXIES",
        description="Networks (CIDR, comma-separated) of proxies whose X-Forwarded-For is believed; none: the peer is the client.",
    )
    metrics_path: str = Field(
        "/metrics",
        pattern=r"^/[A-Za-z0-9/_-]{1,100}$",
        validation_alias="WAYBILL_METRICS_PATH",
        description="Where Prometheus metrics are answered, without credentials: keep it from the public.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="WAYBILL_LOG_LEVEL", description="Least severity that is logged."
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias="WAYBILL_OTLP_ENDPOINT",
        description="OpenTelemetry collector (OTLP over HTTP); none: no export.",
    )
    trace_sample_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        validation_alias="WAYBILL_TRACE_SAMPLE_RATIO",
        description="Share of traces that start here and are recorded; a sampled caller is always followed.",
    )

    @property
    def role_set(self) -> frozenset[Role]:
        return frozenset(role for role in ALL_ROLES if role in {name.strip() for name in self.roles.split(",")})


SettingsT = TypeVar("SettingsT", bound=ProcessSettings)

SECRETS_DIR = "WAYBILL_SECRETS_DIR"
"""Names a folder in which a file `JOBS_DATABASE_URL` is that variable, unless the environment has it."""


def environment() -> dict[str, str]:
    """The environment of a command that has no settings of its own, with the files of `SECRETS_DIR`."""
    folder = os.environ.get(SECRETS_DIR)
    files = [file for file in Path(folder).iterdir() if file.name.isupper()] if folder else []
    return {**{file.name: file.read_text().strip() for file in files}, **os.environ}


def load_settings(settings: type[SettingsT]) -> SettingsT:
    """The settings of this process. Ends it with status 2 and one line for each variable that is missing or wrong."""
    try:
        return settings(_secrets_dir=os.environ.get(SECRETS_DIR))
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        for problem in error.errors(include_input=False):
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            variable = name if name.isupper() else f"{prefix}{name}".upper()
            sys.stderr.write(f"{variable}: {problem['msg']}\n")
        raise SystemExit(2) from None
