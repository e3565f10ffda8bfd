"""How clients of aiokafka are started, so that a cancellation loses no connection."""

from collections.abc import Coroutine
from typing import Any

from shared.chassis.cancellation import finish

START_GRACE_SECONDS = 1.0
"""Time in which a client that Kafka answers has started, or has found that Kafka is away."""


async def finish_start(starting: Coroutine[Any, Any, None]) -> None:
    """Await `client.start()`; a cancellation takes effect after it, or after `START_GRACE_SECONDS`.

    Cancelled while it waits for its first metadata, a client of aiokafka does not close that connection (aiokafka#715).
    """
    await finish(starting, grace_seconds=START_GRACE_SECONDS)
