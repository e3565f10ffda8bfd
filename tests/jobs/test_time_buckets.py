"""Time ranges as tokens."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from jobs.search_index import time_buckets

numbers = some.integers(min_value=-(10**6), max_value=10**7)


@given(
    first=numbers,
    length=some.integers(min_value=0, max_value=8**4 * (time_buckets.BUCKETS_MAX - 1)),
    inside=some.data(),
)
def test_a_range_is_covered_by_tokens_that_little_else_has(first: int, length: int, inside: some.DataObject) -> None:
    last = first + length
    asked = time_buckets.covering_tokens("C", first, last)
    number = inside.draw(some.integers(min_value=first, max_value=last))

    assert len(set(time_buckets.bucket_tokens("C", number)) & set(asked)) == 1
    assert len(asked) <= time_buckets.BUCKETS_MAX
    # One bucket more on either side of a range of at most eight buckets.
    beyond = max(8, 2 * length)
    assert not set(time_buckets.bucket_tokens("C", last + beyond)) & set(asked)
    assert not set(time_buckets.bucket_tokens("C", first - beyond)) & set(asked)


def test_a_range_that_is_too_long_has_no_tokens() -> None:
    assert time_buckets.covering_tokens("C", 0, 8**time_buckets.LEVELS * time_buckets.BUCKETS_MAX) == []


def test_hours_and_days_are_counted_from_one_instant() -> None:
    assert time_buckets.hour_number(datetime(1970, 1, 1, 0, 59, tzinfo=UTC)) == 0
    assert time_buckets.hour_number(datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)) == -1
    assert time_buckets.hour_number(datetime(1970, 1, 2, 1, tzinfo=UTC)) == 25
    assert (
        time_buckets.day_number(date(1970, 1, 1)),
        time_buckets.day_number(date(1969, 12, 31)),
        time_buckets.day_number(date(2030, 1, 31)),
    ) == (0, -1, 21945)


def test_each_day_has_a_token_of_each_level() -> None:
    assert list(time_buckets.bucket_tokens("D", 21945)) == ["D0:21945", "D1:2743", "D2:342", "D3:42", "D4:5"]
