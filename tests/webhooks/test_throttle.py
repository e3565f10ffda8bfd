"""The throttle: window, rate, slowing down, circuit breaker. Pure rules; the instants are arguments."""

import math

import pytest

from webhooks.dispatch.throttle import EndpointThrottle, ThrottleLimits

LIMITS = ThrottleLimits(window_max=128, breaker_failures=3, pause_seconds=5.0, pause_seconds_max=20.0)


def throttle(rate_per_second: float | None = None) -> EndpointThrottle:
    return EndpointThrottle(LIMITS, rate_per_second)


def fail(one: EndpointThrottle, now: float, times: int = 1) -> None:
    for _ in range(times):
        one.began(now)
        one.ended(now, "refused")


def begun_within(one: EndpointThrottle, start: float, seconds: float) -> int:
    """How many attempts to a busy endpoint begin in that time."""
    now, count = start, 0
    while (at := one.begin_at(now)) < start + seconds:
        now = max(now, at)
        one.began(now)
        one.ended(now, "accepted")
        count += 1
    return count


def test_the_window_grows_with_successes_and_is_halved_by_time_outs() -> None:
    one = throttle()
    assert one.window == 32

    for _ in range(200):
        one.ended(0.0, "accepted")
    grown = one.window
    one.ended(0.0, "unanswered")
    one.ended(0.0, "unanswered")

    assert (grown, one.window) == (128, 32)


def test_refusals_leave_the_window_as_it_is() -> None:
    one = throttle()
    fail(one, 0.0, 2)
    assert one.window == 32


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    one = throttle()
    fail(one, 100.0, 2)
    one.ended(100.0, "accepted")
    fail(one, 100.0, 2)
    closed = one.is_open
    fail(one, 100.0)

    assert (closed, one.is_open) == (False, True)
    assert one.is_held(104.9)
    assert one.begin_at(100.0) == 105.0
    assert one.room(100.0, 1.0) == 0


def test_an_open_breaker_lets_one_probe_through_after_its_pause() -> None:
    one = throttle()
    fail(one, 100.0, 3)

    assert one.begin_at(105.0) <= 105.0
    assert one.room(105.0, 1.0) == 1
    one.began(105.0)

    assert one.begin_at(106.0) == math.inf
    assert one.is_held(106.0)


def test_a_probe_that_succeeds_closes_the_breaker() -> None:
    one = throttle()
    fail(one, 100.0, 3)
    one.began(105.0)
    one.ended(105.2, "accepted")

    assert not one.is_open
    assert not one.is_held(105.2)
    assert one.begin_at(105.2) <= 105.2


def test_each_probe_that_fails_doubles_the_pause_up_to_its_bound() -> None:
    one = throttle()
    fail(one, 0.0, 3)
    now, pauses = 0.0, []
    for _ in range(4):
        at = one.begin_at(now)
        pauses.append(at - now)
        now = at
        one.began(now)
        one.ended(now, "unanswered")

    assert pauses == [5.0, 10.0, 20.0, 20.0]


def test_the_pause_is_short_again_after_a_success() -> None:
    one = throttle()
    fail(one, 0.0, 3)
    one.began(5.0)
    one.ended(5.0, "refused")
    one.began(15.0)
    one.ended(15.0, "accepted")
    fail(one, 20.0, 3)

    assert one.begin_at(20.0) == 25.0


def test_attempts_of_before_the_opening_do_not_lengthen_the_pause() -> None:
    one = throttle()
    fail(one, 0.0, 3)
    one.ended(1.0, "refused")
    one.ended(2.0, "unanswered")

    assert one.begin_at(2.0) == 5.0


def test_a_rate_holds_over_any_longer_time() -> None:
    assert begun_within(throttle(10.0), 100.0, 5.0) in (50, 51)
    assert begun_within(throttle(0.5), 100.0, 10.0) in (5, 6)


def test_an_idle_time_allows_only_a_small_burst() -> None:
    one = throttle(100.0)
    begun_within(one, 0.0, 1.0)
    assert begun_within(one, 50.0, 0.001) <= 11


def test_retry_after_holds_the_whole_endpoint() -> None:
    one = throttle()
    one.began(10.0)
    one.ended(10.0, "busy", retry_after_seconds=30.0, recent_rate=100.0)

    assert one.is_held(39.9)
    assert one.begin_at(10.0) == 40.0
    assert one.room(40.0, 1.0) == 50


def test_the_rate_of_a_busy_receiver_is_halved_and_recovers() -> None:
    one = throttle()
    one.ended(10.0, "busy", recent_rate=80.0)
    slowed = one.rate
    one.ended(10.5, "busy", recent_rate=80.0)
    same_burst = one.rate
    one.ended(12.0, "busy", recent_rate=80.0)
    again = one.rate
    now = 12.0
    while one.rate is not None:
        now += 1.0
        one.ended(now, "accepted")

    assert (slowed, same_burst, again) == (40.0, 40.0, 20.0)
    assert 5.0 < now - 12.0 < 60.0


def test_slowing_down_never_stops_an_endpoint() -> None:
    one = throttle()
    for second in range(0, 100, 2):
        one.ended(float(second), "busy")
        one.ended(second + 0.5, "accepted")
    assert one.rate is not None
    assert one.rate >= 1.0


@pytest.mark.parametrize("own", [5.0, 1000.0])
def test_the_lower_of_the_own_rate_and_the_slowed_rate_applies(own: float) -> None:
    one = throttle(own)
    one.ended(10.0, "busy", recent_rate=80.0)
    assert one.rate == own / 2
