"""Kafka's records, as consumers get them."""

from collections.abc import Sequence
from typing import Protocol


class KafkaRecord(Protocol):
    """What is used of a record that aiokafka delivers."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
