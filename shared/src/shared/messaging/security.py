"""How clients reach Kafka: by which protocol, as whom, trusting which authority. Every client of Kafka takes its options from here."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


@dataclass(frozen=True)
class KafkaSecurity:
    """What a client tells Kafka about itself, and by what it recognises Kafka. Raises `ValueError` when it is not complete."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM file with the authorities that may vouch for Kafka; None: those of the system."""

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise ValueError(f"the security protocol is one of {', '.join(get_args(Protocol))}")
        if self.mechanism not in get_args(Mechanism):
            raise ValueError(f"the SASL mechanism is one of {', '.join(get_args(Mechanism))}")
        if self.authenticates != bool(self.username and self.password):
            raise ValueError(f"{self.protocol} {'needs' if self.authenticates else 'takes no'} user name and password")
        if self.ca_file is not None and not self.encrypts:
            raise ValueError(f"{self.protocol} takes no file of authorities")

    @property
    def authenticates(self) -> bool:
        return self.protocol.startswith("SASL_")

    @property
    def encrypts(self) -> bool:
        return self.protocol.endswith("SSL")

    @cached_property
    def client_options(self) -> Mapping[str, Any]:
        """The options of any client of aiokafka. Raises `OSError` when the file of authorities cannot be read."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.encrypts:
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.authenticates:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options


NOT_SECURED = KafkaSecurity()
"""For a network of one's own."""


def of_environment(environment: Mapping[str, str]) -> KafkaSecurity:
    """The security of a command that is run by hand: `WAYBILL_KAFKA_…`. Raises `ValueError`."""
    ca_file = environment.get("WAYBILL_KAFKA_CA_FILE")
    return KafkaSecurity(
        protocol=cast(Protocol, environment.get("WAYBILL_KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT"),
        mechanism=cast(Mechanism, environment.get("WAYBILL_KAFKA_SASL_MECHANISM") or "SCRAM-SHA-512"),
        username=environment.get("WAYBILL_KAFKA_USERNAME") or None,
        password=environment.get("WAYBILL_KAFKA_PASSWORD") or None,
        ca_file=Path(ca_file) if ca_file else None,
    )
