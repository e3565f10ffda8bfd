"""Settings that every service has."""

from typing import TypeVar

from pydantic import Field

from shared.chassis.settings import ProcessSettings, Secret32, VersionedKeys, secret_bytes


class ServiceSettings(ProcessSettings):
    """The settings of a process with a database, Kafka and access decisions."""

    database_url: str = Field(description="PostgreSQL address, postgresql://user:password@host:port/database.")
    database_pool_size: int = Field(
        16, ge=2, le=200, description="Connections that the API and its workers share; a quarter more are for searches."
    )
    kafka_bootstrap_servers: str = Field(
        validation_alias="WAYBILL_KAFKA_BOOTSTRAP_SERVERS", description="Kafka addresses, host:port, comma-separated."
    )
    kafka_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        validation_alias="WAYBILL_KAFKA_PREFIX",
        description="Begins the name of every topic and consumer group, so that installations can share one Kafka.",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        validation_alias="WAYBILL_INSTANCE",
        description="Name of this replica, its own and the same after a restart: its consumers then take their partitions back at once.",
    )
    key_peppers: VersionedKeys = Field(
        validation_alias="WAYBILL_KEY_PEPPERS",
        description="Peppers of API key digests, <version>:<base64 of 32 bytes>, comma-separated. The same in every service.",
    )
    secret: Secret32 = Field(
        validation_alias="WAYBILL_SECRET",
        description="32 bytes, base64: signs list cursors and encrypts stored answers. The same in every replica of a service.",
    )
    access_max_staleness_seconds: float = Field(
        300,
        gt=0,
        validation_alias="WAYBILL_ACCESS_MAX_STALENESS_SECONDS",
        description="Seconds without proof that the access data are current, after which calls are refused with 503.",
    )
    access_cache_ttl_seconds: float = Field(
        2.0,
        gt=0,
        le=2,
        validation_alias="WAYBILL_ACCESS_CACHE_TTL_SECONDS",
        description="Longest life of a cached access decision's data; changes are pushed much sooner.",
    )
    credential_rate_per_second: float = Field(
        2000,
        gt=0,
        validation_alias="WAYBILL_CREDENTIAL_RATE_PER_SECOND",
        description="Requests a second for one credential.",
    )
    tenant_rate_per_second: float = Field(
        4000, gt=0, validation_alias="WAYBILL_TENANT_RATE_PER_SECOND", description="Requests a second for one tenant."
    )
    failed_authentications_per_minute: float = Field(
        300,
        gt=0,
        validation_alias="WAYBILL_FAILED_AUTHENTICATIONS_PER_MINUTE",
        description="Wrong credentials that one address may present in a minute before it gets 429.",
    )
    idempotency_hours: int = Field(
        24,
        ge=1,
        le=168,
        validation_alias="WAYBILL_IDEMPOTENCY_HOURS",
        description="How long an Idempotency-Key is remembered.",
    )

    @property
    def secret_bytes(self) -> bytes:
        return secret_bytes(self.secret)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)
