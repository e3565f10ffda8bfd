"""What the reports of replicas make of a receipt."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from identity.revocations import rules
from identity.revocations.rules import Replica

REVOKED_AT = datetime(2030, 1, 31, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
STALE = timedelta(minutes=5)


def replica(
    name: str = "jobs-1",
    *,
    started: timedelta = -HOUR,
    heard: timedelta = -SECOND,
    stopped: timedelta | None = None,
) -> Replica:
    """A replica of jobs; all instants are told from that of the revocation."""
    stopped_at = None if stopped is None else REVOKED_AT + stopped
    return Replica("jobs", name, REVOKED_AT + started, REVOKED_AT + heard, stopped_at)


def states(replicas: Sequence[Replica], *applied: tuple[str, int], events: int = 1) -> dict[str, str]:
    """The state of each replica of jobs in the receipt; `applied` has the names of those that said so, with for how many events."""
    said = {("jobs", name): [REVOKED_AT + SECOND] * count for name, count in applied}
    found = rules.receipts(REVOKED_AT, events, replicas, said, max_staleness=STALE)
    return {receipt.replica.name: receipt.state for receipt in found["jobs"]}


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (replica(), "missing"),
        (replica(heard=-STALE), "missing"),
        (replica(stopped=SECOND), "stopped"),
        # It refuses everybody until its data are current again.
        (replica(heard=-STALE - SECOND), None),
        (replica(started=SECOND, heard=HOUR), None),
        (replica(heard=-SECOND, stopped=-SECOND), None),
    ],
)
def test_what_is_expected_of_a_replica_that_has_said_nothing(one: Replica, state: str | None) -> None:
    assert states([one]).get(one.name) == state


def test_a_replica_that_started_later_is_shown_when_it_has_said_that_it_refuses() -> None:
    later = replica("jobs-2", started=SECOND, heard=HOUR)

    assert states([replica(), later], ("jobs-2", 1)) == {"jobs-1": "missing", "jobs-2": "applied"}


def test_a_replica_has_applied_a_revocation_when_all_its_events_are_in_force() -> None:
    replicas = [replica("jobs-1"), replica("jobs-2")]

    assert states(replicas, ("jobs-1", 2), ("jobs-2", 1), events=2) == {"jobs-1": "applied", "jobs-2": "missing"}


@pytest.mark.parametrize(
    ("said", "complete"),
    [([], False), (["jobs-1"], False), (["jobs-1", "jobs-2"], True)],
)
def test_a_service_is_complete_when_no_replica_is_missing(said: list[str], complete: bool) -> None:
    replicas = [replica("jobs-1"), replica("jobs-2")]
    applied = {("jobs", name): [REVOKED_AT] for name in said}

    found = rules.receipts(REVOKED_AT, 1, replicas, applied, max_staleness=STALE)

    assert rules.is_complete(found["jobs"]) is complete
    assert not rules.is_complete(found["billing"])


def test_a_service_of_which_nothing_is_known_is_not_complete() -> None:
    assert not rules.is_complete([])


def test_the_clock_of_a_replica_may_be_behind() -> None:
    assert rules.milliseconds_after(REVOKED_AT, REVOKED_AT - SECOND) == 0
    assert rules.milliseconds_after(REVOKED_AT, REVOKED_AT + timedelta(milliseconds=41)) == 41
