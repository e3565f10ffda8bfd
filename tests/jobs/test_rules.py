"""The rules of jobs."""

from datetime import date, datetime, timedelta
from typing import get_args
from zoneinfo import available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jobs.job_store.rules import JobStatus, allowed_transitions, window_instants
from jobs.job_store.schemas import JobIn
from jobs.reference_data.rules import LocationsNotAllowed, Merchant, choose_location
from shared.ids import new_id

MONTREAL, TORONTO, FOREIGN = new_id("loc"), new_id("loc"), new_id("loc")
MERCHANT = Merchant(new_id("mer"), True, (MONTREAL, TORONTO), MONTREAL)
WITHOUT_DEFAULT = Merchant(new_id("mer"), True, (MONTREAL, TORONTO), None)


def test_every_status_has_its_transitions() -> None:
    reached = {status: allowed_transitions(status) for status in get_args(JobStatus)}

    assert reached["new"] == ["in_progress", "cancelled"]
    assert reached["in_progress"] == ["completed", "incomplete", "damaged", "cancelled"]
    assert [reached[status] for status in ("partially_completed", "incomplete", "damaged")] == [["resolved"]] * 3
    assert [reached[status] for status in ("completed", "resolved", "cancelled")] == [[], [], []]


def test_the_default_location_is_used_if_none_is_named() -> None:
    assert choose_location(MERCHANT, None, None) == MONTREAL
    assert choose_location(MERCHANT, TORONTO, MONTREAL) == TORONTO


@pytest.mark.parametrize(
    ("merchant", "location_id", "distribution_location_id", "expected"),
    [
        (WITHOUT_DEFAULT, None, None, [("/location_id", "location_required")]),
        (MERCHANT, FOREIGN, None, [("/location_id", "location_not_yours")]),
        (MERCHANT, None, FOREIGN, [("/distribution_location_id", "location_not_yours")]),
        (
            WITHOUT_DEFAULT,
            None,
            FOREIGN,
            [("/location_id", "location_required"), ("/distribution_location_id", "location_not_yours")],
        ),
    ],
    ids=["none", "another's", "another's to distribute from", "both"],
)
def test_all_violations_of_locations_are_reported_together(
    merchant: Merchant, location_id: str | None, distribution_location_id: str | None, expected: list[tuple[str, str]]
) -> None:
    with pytest.raises(LocationsNotAllowed) as raised:
        choose_location(merchant, location_id, distribution_location_id)

    assert [(violation.pointer, violation.code) for violation in raised.value.violations] == expected


def test_the_published_example_is_accepted() -> None:
    schema = JobIn.model_json_schema()

    assert [JobIn.model_validate(example).type for example in schema["examples"]] == ["delivery"]


def test_common_spellings_are_stored_in_one_form() -> None:
    job = JobIn.model_validate(
        {
            "contact": {"phone": " +1 (514) 555-0100 ", "email": "Ada@EXAMPLE.com", "company": "   "},
            "address": {"line1": "1 Rue X", "line2": "", "country": "CA"},
            "tags": ["fragile", "up", "fragile"],
        }
    )

    assert (job.contact.phone, job.contact.email, job.contact.company) == ("+15145550100", "Ada@example.com", None)
    assert job.address.line2 is None
    assert job.tags == ["fragile", "up"]


@pytest.mark.parametrize(
    ("day", "start", "end", "timezone", "begins", "ends"),
    [
        ("2026-06-10", "08:00", "12:30", "America/Montreal", "2026-06-10T12:00Z", "2026-06-10T16:30Z"),
        ("2026-06-10", "22:00", "02:00", "America/Montreal", "2026-06-11T02:00Z", "2026-06-11T06:00Z"),
        ("2026-06-10", "18:00", "24:00", "Asia/Kolkata", "2026-06-10T12:30Z", "2026-06-10T18:30Z"),
        ("2026-06-10", "18:00", "00:00", "Asia/Kolkata", "2026-06-10T12:30Z", "2026-06-10T18:30Z"),
        ("2026-12-31", "00:00", "24:00", "Pacific/Kiritimati", "2026-12-30T10:00Z", "2026-12-31T10:00Z"),
        # Clocks are put forward at 02:00: this night has one hour less, and no 02:30.
        ("2026-03-07", "22:00", "06:00", "America/Montreal", "2026-03-08T03:00Z", "2026-03-08T10:00Z"),
        ("2026-03-07", "22:00", "02:30", "America/Montreal", "2026-03-08T03:00Z", "2026-03-08T07:30Z"),
        ("2026-03-08", "02:30", "03:00", "America/Montreal", "2026-03-08T06:30Z", "2026-03-08T07:00Z"),
        ("2026-03-08", "00:00", "24:00", "America/Montreal", "2026-03-08T05:00Z", "2026-03-09T04:00Z"),
        # Clocks are put back at 02:00: it is 01:30 twice.
        ("2026-10-31", "22:00", "01:30", "America/Montreal", "2026-11-01T02:00Z", "2026-11-01T06:30Z"),
        ("2026-11-01", "01:30", "05:00", "America/Montreal", "2026-11-01T05:30Z", "2026-11-01T10:00Z"),
        ("2026-11-01", "00:00", "24:00", "America/Montreal", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        # By half an hour; at midnight, so that a day has no 00:00.
        ("2026-04-04", "23:00", "01:45", "Australia/Lord_Howe", "2026-04-04T12:00Z", "2026-04-04T15:15Z"),
        ("2026-04-23", "22:00", "24:00", "Africa/Cairo", "2026-04-23T20:00Z", "2026-04-23T22:00Z"),
    ],
)
def test_a_time_window_begins_and_ends_by_the_clocks_of_its_zone(
    day: str, start: str, end: str, timezone: str, begins: str, ends: str
) -> None:
    instants = window_instants(date.fromisoformat(day), start, end, timezone)

    assert instants == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))


@given(
    st.dates(date(2000, 1, 1), date(2037, 12, 31)),
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 24 * 60),
    st.sampled_from(sorted(available_timezones())),
)
def test_no_time_window_ends_before_it_begins_or_takes_much_more_than_a_day(
    day: date, start: int, end: int, timezone: str
) -> None:
    assume(start != end)
    first, last = (f"{one // 60:02}:{one % 60:02}" for one in (start, end))

    instants = window_instants(day, first, last, timezone)

    assert instants is not None
    begins, ends = instants
    assert begins < ends <= begins + timedelta(hours=48)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_a_time_window_beyond_the_range_of_instants_has_none(day: date) -> None:
    assert window_instants(day, "00:00", "24:00", "Asia/Tokyo" if day == date.min else "America/Montreal") is None
