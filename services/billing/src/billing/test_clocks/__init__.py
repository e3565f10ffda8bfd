"""Test clocks: a test tenant's own time, moved forward, with everything that becomes due on the way done in its order."""

from billing.test_clocks.operations import TEST_CLOCK, acknowledge, advance, create, note_replicas, work
from billing.test_clocks.queries import get
from billing.test_clocks.tables import ReplicaRow, TestClockRow

__all__ = [
    "TEST_CLOCK",
    "ReplicaRow",
    "TestClockRow",
    "acknowledge",
    "advance",
    "create",
    "get",
    "note_replicas",
    "work",
]
