"""Settings that every service has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode
from sqlalchemy.engine import make_url

from shared.access.signing_roots import parse_roots
from shared.chassis.networks import is_here
from shared.chassis.settings import ProcessSettings, Secret32, VersionedKeys, secret_bytes
from shared.messaging.security import KafkaSecurity, Mechanism, Protocol

ENCRYPTING_MODES = frozenset({"require", "verify-ca", "verify-full"})


def _check_roots(value: str) -> str:
    parse_roots(value)
    return value


class ServiceSettings(ProcessSettings):
    """The settings of a process with a database, Kafka and access decisions."""

    database_url: str = Field(
        description="PostgreSQL address, postgresql://user:password@host:port/database; for TLS with ?sslmode=verify-full&sslrootcert=FILE."
    )
    database_pool_size: int = Field(
        16, ge=2, le=200, description="Connections that the API and its workers share; a quarter more are for searches."
    )
    kafka_bootstrap_servers: str = Field(
        validation_alias="WAYBILL_KAFKA_BOOTSTRAP_SERVERS", description="Kafka addresses, host:port, comma-separated."
    )
    kafka_username: str | None = Field(None, description="This service's user in Kafka.")
    kafka_password: SecretStr | None = Field(None, description="Password of this service's user in Kafka.")
    kafka_sasl_mechanism: Mechanism = Field(
        "SCRAM-SHA-512",
        validation_alias="WAYBILL_KAFKA_SASL_MECHANISM",
        description="How the user's password is proven to Kafka: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.",
    )
    kafka_ca_file: Path | None = Field(
        None,
        validation_alias="WAYBILL_KAFKA_CA_FILE",
        description="PEM file with the authorities that vouch for Kafka; none: the system's.",
    )
    kafka_security_protocol: Protocol = Field(
        "PLAINTEXT",
        validate_default=True,
        validation_alias="WAYBILL_KAFKA_SECURITY_PROTOCOL",
        description="SASL_SSL (user and TLS), SSL, SASL_PLAINTEXT, or PLAINTEXT where nobody else can reach Kafka.",
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
    signing_roots: Annotated[str, NoDecode, AfterValidator(_check_roots)] = Field(
        validation_alias="WAYBILL_SIGNING_ROOTS",
        description="Public root keys, base64, comma-separated: a key that signs sessions counts only if one of them has proven it.",
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
        4000,
        gt=0,
        validation_alias="WAYBILL_TENANT_RATE_PER_SECOND",
        description="Requests a second for one tenant, unless its plan includes fewer.",
    )
    failed_authentications_per_minute: float = Field(
        300,
        gt=0,
        validation_alias="WAYBILL_FAILED_AUTHENTICATIONS_PER_MINUTE",
        description="Wrong credentials that one address may present in a minute before it gets 429.",
    )
    streams_max: int = Field(
        1000,
        ge=1,
        le=100_000,
        validation_alias="WAYBILL_STREAMS_MAX",
        description="Event streams that are open at once in a process; beyond, 503.",
    )
    streams_per_tenant_max: int = Field(
        250,
        ge=1,
        le=100_000,
        validation_alias="WAYBILL_STREAMS_PER_TENANT_MAX",
        description="Event streams of one tenant that are open at once in a process; beyond, 429.",
    )
    idempotency_hours: int = Field(
        24,
        ge=1,
        le=168,
        validation_alias="WAYBILL_IDEMPOTENCY_HOURS",
        description="How long an Idempotency-Key is remembered.",
    )

    @field_validator("kafka_security_protocol")
    @classmethod
    def _is_complete(cls, protocol: Protocol, info: ValidationInfo) -> Protocol:
        """It comes last of the settings that have to fit together."""
        _kafka_security(protocol, info.data)
        return protocol

    @property
    def kafka_security(self) -> KafkaSecurity:
        return _kafka_security(self.kafka_security_protocol, vars(self))

    @property
    def in_the_clear(self) -> list[str]:
        """What to warn of: servers on other machines with which this service speaks without TLS."""
        database = make_url(self.database_url)
        found = []
        if database.query.get("sslmode") not in ENCRYPTING_MODES and not is_here(database.host or ""):
            found.append("postgres_not_secured")
        hosts = [address.rpartition(":")[0] for address in self.kafka_bootstrap_servers.split(",")]
        if not self.kafka_security.encrypts and not all(map(is_here, hosts)):
            found.append("kafka_not_secured")
        return found

    @property
    def secret_bytes(self) -> bytes:
        return secret_bytes(self.secret)


def _kafka_security(protocol: Protocol, settings: Mapping[str, Any]) -> KafkaSecurity:
    """Raises `ValueError` when they do not fit together."""
    password: SecretStr | None = settings.get("kafka_password")
    return KafkaSecurity(
        protocol=protocol,
        mechanism=settings.get("kafka_sasl_mechanism", "SCRAM-SHA-512"),
        username=settings.get("kafka_username"),
        password=None if password is None else password.get_secret_value(),
        ca_file=settings.get("kafka_ca_file"),
    )


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)
