"""Spans of time as terms, without a database."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from jobs.domain import spans

numbers = some.integers(min_value=-(10**6), max_value=10**7)


@given(first=numbers, length=some.integers(min_value=0, max_value=8**4 * (spans.BLOCKS_MAX - 1)), inside=some.data())
def test_whatever_lies_in_a_span_has_one_of_its_terms_and_little_else_has(
    first: int, length: int, inside: some.DataObject
) -> None:
    last = first + length
    asked = spans.covering("C", first, last)
    number = inside.draw(some.integers(min_value=first, max_value=last))

    assert len(set(spans.blocks("C", number)) & set(asked)) == 1
    assert len(asked) <= spans.BLOCKS_MAX
    # A block more on either side of a span that has eight of them at most.
    beyond = max(8, 2 * length)
    assert not set(spans.blocks("C", last + beyond)) & set(asked)
    assert not set(spans.blocks("C", first - beyond)) & set(asked)


def test_a_span_that_is_too_long_narrows_nothing() -> None:
    assert spans.covering("C", 0, 8**spans.LEVELS * spans.BLOCKS_MAX) == []


def test_hours_and_days_are_counted_from_one_instant() -> None:
    assert spans.hour(datetime(1970, 1, 1, 0, 59, tzinfo=UTC)) == 0
    assert spans.hour(datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)) == -1
    assert spans.hour(datetime(1970, 1, 2, 1, tzinfo=UTC)) == 25
    assert (spans.day(date(1970, 1, 1)), spans.day(date(1969, 12, 31)), spans.day(date(2030, 1, 31))) == (0, -1, 21945)


def test_each_row_has_a_term_of_each_level() -> None:
    assert list(spans.blocks("D", 21945)) == ["D0:21945", "D1:2743", "D2:342", "D3:42", "D4:5"]
