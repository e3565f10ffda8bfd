"""Money and periods, tested with values: nothing is lost, and the anchor's day is kept."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import invoices
from billing.money import AMOUNT_MAX, major, round_half_even, round_together
from billing.periods import Interval, days_between, next_boundary
from billing.plans import PlanTerms, TaxRate

ZONES = ["UTC", "America/Montreal", "Europe/Paris", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"]
MONTREAL = "America/Montreal"

amounts = st.integers(min_value=0, max_value=AMOUNT_MAX)
instants = st.datetimes(min_value=datetime(1995, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.lists(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=366), max_size=8))
def test_lines_that_are_rounded_together_make_the_rounded_sum(exact: list[Fraction]) -> None:
    rounded = round_together(exact)

    assert sum(rounded) == round(sum(exact, Fraction()))
    assert all(abs(whole - part) < 1 for whole, part in zip(rounded, exact, strict=True))


@given(amounts, st.integers(0, 1_000_000))
def test_a_tax_is_rounded_half_to_even(subtotal: int, rate_ppm: int) -> None:
    assert round_half_even(subtotal * rate_ppm, 1_000_000) == round(Fraction(subtotal * rate_ppm, 1_000_000))


@pytest.mark.parametrize(("currency", "shown"), [("CAD", "49.00"), ("JPY", "4900"), ("KWD", "4.900")])
def test_an_amount_has_the_decimal_places_of_its_currency(currency: str, shown: str) -> None:
    assert str(major(4900, currency)) == shown


@given(instants, st.sampled_from(["month", "year"]), st.sampled_from(ZONES))
def test_periods_follow_one_another_and_keep_the_day_of_the_anchor(
    anchor: datetime, interval: Interval, zone: str
) -> None:
    tz, at = ZoneInfo(zone), anchor
    day = anchor.astimezone(tz).day
    for number in range(1, 15):
        following = next_boundary(anchor, interval, at, zone)
        months = 12 * (following.astimezone(tz).year - anchor.astimezone(tz).year)
        months += following.astimezone(tz).month - anchor.astimezone(tz).month
        assert months == number * (1 if interval == "month" else 12)
        # A zone may skip a whole day, as Samoa did.
        assert following.astimezone(tz).day in {day, *range(28, min(day, 31) + 1)} or zone == "Pacific/Apia"
        assert at < following
        at = following


def test_the_anchor_of_the_31st_falls_on_the_last_day_of_shorter_months() -> None:
    tz = ZoneInfo(MONTREAL)
    anchor = datetime(2027, 1, 31, 9, 30, tzinfo=tz).astimezone(UTC)
    ends, at = [], anchor
    for _ in range(4):
        at = next_boundary(anchor, "month", at, MONTREAL)
        ends.append(at.astimezone(tz))

    assert [(end.month, end.day, end.hour, end.minute) for end in ends] == [
        (2, 28, 9, 30),
        (3, 31, 9, 30),
        (4, 30, 9, 30),
        (5, 31, 9, 30),
    ]
    # The clocks changed in between: the same time of day is an hour earlier by UTC.
    assert (ends[0].astimezone(UTC).hour, ends[1].astimezone(UTC).hour) == (14, 13)
    assert days_between(ends[0], ends[1], MONTREAL) == 31


def test_a_time_of_day_that_a_change_of_clocks_skips_is_still_one_instant() -> None:
    anchor = datetime(2027, 2, 14, 2, 30, tzinfo=ZoneInfo(MONTREAL)).astimezone(UTC)

    assert next_boundary(anchor, "month", anchor, MONTREAL) == datetime(2027, 3, 14, 7, 30, tzinfo=UTC)


@given(amounts, amounts, st.integers(1, 366), st.data())
def test_a_change_of_plan_credits_and_charges_the_days_that_are_left(
    former_amount: int, amount: int, days: int, data: st.DataObject
) -> None:
    left = data.draw(st.integers(0, days))
    at = datetime(2027, 1, 1, tzinfo=UTC)
    former = PlanTerms("a", 1, "month", "CAD", former_amount)
    plan = PlanTerms("b", 1, "month", "CAD", amount)

    draft = invoices.draft_of_change(
        former,
        plan,
        at=at,
        former_end=at + timedelta(days=left),
        end=at + timedelta(days=left),
        days_left=left,
        days=days,
    )
    quote = invoices.quote(draft, [TaxRate("GST", 50_000), TaxRate("QST", 99_750)])

    credit, charge = quote.lines
    assert credit.amount <= 0 <= charge.amount
    assert -credit.amount <= former_amount
    assert quote.subtotal == round(Fraction((amount - former_amount) * left, days))
    assert quote.total == quote.subtotal + sum(tax.amount for tax in quote.taxes)
