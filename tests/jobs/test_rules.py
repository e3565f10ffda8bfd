"""The rules of jobs."""

from typing import get_args

import pytest

from jobs.job_store.rules import JobStatus, allowed_transitions
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
