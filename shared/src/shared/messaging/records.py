"""Kafka's records as consumers get them."""

from collections.abc import Sequence
from typing import Protocol


class KafkaRecord(Protocol):
    """The fields that are used of a record from aiokafka."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
