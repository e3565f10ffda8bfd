"""What follows from an attempt: retries by the schedule, `Retry-After`, giving up."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from webhooks.deliveries import rules as deliveries_rules
from webhooks.deliveries.rules import Decision
from webhooks.http_client.responses import Outcome

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
SCHEDULE = (5.0, 300.0, 1800.0)


def outcome(status: int | None = 500, retry_after: str | None = None) -> Outcome:
    return Outcome(0, 1, "status", status, None, retry_after)


def test_retries_follow_the_schedule_with_a_fifth_either_way() -> None:
    def delay(attempt: int, chance: float) -> float | None:
        return deliveries_rules.decide(
            outcome(), attempt=attempt, schedule=SCHEDULE, now=NOW, chance=chance
        ).retry_seconds

    assert [delay(attempt, 0.5) for attempt in (1, 2, 3)] == pytest.approx(SCHEDULE)
    assert delay(1, 0.0) == pytest.approx(4.0)
    assert delay(1, 0.999999) == pytest.approx(6.0, abs=0.01)
    last = deliveries_rules.decide(outcome(), attempt=4, schedule=SCHEDULE, now=NOW, chance=0.5)
    assert last == Decision(failure="exhausted")


def test_success_ends_and_gone_ends_otherwise() -> None:
    accepted = deliveries_rules.decide(Outcome(0, 1, None, 204), attempt=1, schedule=SCHEDULE, now=NOW, chance=0.5)
    gone = deliveries_rules.decide(outcome(410), attempt=1, schedule=SCHEDULE, now=NOW, chance=0.5)

    assert accepted == Decision()
    assert gone == Decision(failure="gone")
    assert gone.disables_endpoint


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("999999999", 86_400),
        (format_datetime(NOW + timedelta(minutes=10), usegmt=True), 600),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 86_400),
        (format_datetime(NOW - timedelta(minutes=10), usegmt=True), 0),
        ("Thu, 31 Jan 2030 12:01:00 -0000", 60),
        ("-5", 0),
        ("soon", 0),
        ("1.5e9", 0),
        ("9" * 500, 0),
        ("²", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(value: str | None, seconds: float) -> None:
    assert deliveries_rules.retry_after_seconds(value, NOW) == pytest.approx(seconds)


def test_a_retry_after_only_ever_delays() -> None:
    sooner = deliveries_rules.decide(outcome(503, "1"), attempt=2, schedule=SCHEDULE, now=NOW, chance=0.5)
    later = deliveries_rules.decide(outcome(429, "4000"), attempt=2, schedule=SCHEDULE, now=NOW, chance=0.5)

    assert sooner.retry_seconds == pytest.approx(300)
    assert later.retry_seconds == pytest.approx(4000)
