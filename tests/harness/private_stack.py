"""A private stack of tests' own, beside any other on this machine."""

import random
from pathlib import Path

from deploy.devstack import stack
from deploy.devstack.processes import port_is_taken, wait_until
from deploy.devstack.settings import PORTS, StackSettings, read_settings

# Every port of a stack then lies below those that systems give to outgoing connections.
OFFSETS = range(12_000, 22_000)
READY_TIMEOUT_SECONDS = 30.0


def free_offset() -> int:
    """An offset with which every port of a stack is free."""
    for _ in range(100):
        offset = random.choice(OFFSETS)
        if not any(port_is_taken(port + offset) for port in PORTS.values()):
            return offset
    raise AssertionError("no free ports for a stack")


def settings_in(folder: Path, offset: int) -> StackSettings:
    return read_settings({"WAYBILL_HOME": str(folder), "WAYBILL_PORT_OFFSET": str(offset)})


def wait_until_ready(settings: StackSettings) -> None:
    """Returns when everything says that it is ready: what is busy may once need longer to say so than it is waited for."""
    wait_until(
        lambda: {line.state for line in stack.status(settings)} == {"ready"},
        timeout_seconds=READY_TIMEOUT_SECONDS,
        failure=lambda: f"not ready: {stack.status(settings)}",
        poll_seconds=0.2,
    )
