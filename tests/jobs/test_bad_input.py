"""Invalid requests: statuses and codes, and that all violations are reported together."""

import json
from typing import Any

import pytest

from shared.ids import new_id
from tests.harness.bodies import smallest_job
from tests.harness.jobs import Jobs
from tests.harness.people import Merchant


@pytest.fixture(scope="module")
async def merchant(service: Jobs) -> Merchant:
    """The merchant that sends invalid requests."""
    return await (await service.create_tenant()).create_merchant()


async def refused(merchant: Merchant, body: dict[str, Any]) -> list[tuple[str, str]]:
    answer = await merchant.api.post("/v1/jobs", body)
    assert answer.status_code == 422, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    return sorted((error["pointer"], error["code"]) for error in answer.json()["errors"])


async def test_all_violations_are_reported_at_once(merchant: Merchant) -> None:
    wrong = {
        "merchant_id": new_id("loc"),
        "type": "teleport",
        "scheduled_date": "24.12.2026",
        "time_window": {"start": "10:00", "end": "10:00"},
        "timezone": "Mars/Olympus",
        "priority": "3",
        "contact": {"phone": "12345", "email": "ada@", "fax": "1"},
        "address": {"country": "Canada", "postal_code": "H" * 21},
        "geo": {"latitude": 91, "longitude": -180.5},
        "location_id": "somewhere",
        "balance_owed": {"amount": 1.5, "currency": "cad"},
        "metadata": {"k" * 41: "", "number": 1, "long": "v" * 501},
        "tags": ["t" * 51],
        "actions": [{}, {"quantity": 0, "type": "throw"}],
        "surprise": True,
    }

    assert await refused(merchant, wrong) == sorted(
        [
            ("/merchant_id", "id_kind"),
            ("/type", "literal_error"),
            ("/scheduled_date", "date_form"),
            ("/time_window/end", "time_window_empty"),
            ("/timezone", "time_zone"),
            ("/priority", "int_type"),
            ("/contact/phone", "phone_number"),
            ("/contact/email", "email_address"),
            ("/contact/fax", "extra_forbidden"),
            ("/address/line1", "address_empty"),
            ("/address/country", "string_too_long"),
            ("/address/postal_code", "string_too_long"),
            ("/geo/latitude", "less_than_equal"),
            ("/geo/longitude", "greater_than_equal"),
            ("/location_id", "id_kind"),
            ("/balance_owed/amount", "int_type"),
            ("/balance_owed/currency", "currency"),
            ("/metadata/" + "k" * 41, "metadata_key"),
            ("/metadata/number", "metadata_value"),
            ("/metadata/long", "metadata_value"),
            ("/tags/0", "string_too_long"),
            ("/actions/1/quantity", "greater_than_equal"),
            ("/actions/1/type", "literal_error"),
            ("/surprise", "extra_forbidden"),
        ]
    )


async def test_missing_members_are_named(merchant: Merchant) -> None:
    assert await refused(merchant, {}) == [("/address", "missing"), ("/contact", "missing")]
    empty = {"contact": {"first_name": "  "}, "address": {}}
    assert await refused(merchant, empty) == [("/address/line1", "address_empty"), ("/contact", "contact_empty")]


@pytest.mark.parametrize(
    ("more", "pointer", "code"),
    [
        ({"metadata": {f"k{number}": "" for number in range(51)}}, "/metadata", "metadata_keys"),
        ({"metadata": {" ": "v"}}, "/metadata/ ", "metadata_key"),
        ({"metadata": {"a/b~": 1}}, "/metadata/a~1b~0", "metadata_value"),
        ({"metadata": ["k"]}, "/metadata", "metadata_type"),
        ({"metadata": None}, "/metadata", "metadata_type"),
        ({"tags": [f"t{number}" for number in range(51)]}, "/tags", "too_long"),
        ({"tags": "fragile"}, "/tags", "list_type"),
        ({"invoices": [""]}, "/invoices/0", "string_too_short"),
        ({"barcodes": [7]}, "/barcodes/0", "string_type"),
        ({"reference_id": "r" * 256}, "/reference_id", "string_too_long"),
        ({"instructions": "i" * 5001}, "/instructions", "string_too_long"),
        ({"priority": True}, "/priority", "int_type"),
        ({"priority": 1e400}, "/priority", "int_type"),
        ({"geo": {"latitude": 1e400, "longitude": 0}}, "/geo/latitude", "finite_number"),
        ({"geo": {"latitude": 10**400, "longitude": 0}}, "/geo/latitude", "float_type"),
        ({"geo": {"latitude": 1}}, "/geo/longitude", "missing"),
        ({"balance_owed": {"amount": -1, "currency": "CAD"}}, "/balance_owed/amount", "greater_than_equal"),
        ({"balance_owed": {"amount": 10**30, "currency": "CAD"}}, "/balance_owed/amount", "less_than_equal"),
        ({"scheduled_date": "2026-02-30"}, "/scheduled_date", "date_from_datetime_parsing"),
        ({"scheduled_date": 1_700_000_000}, "/scheduled_date", "date_form"),
        ({"scheduled_date": "2026-02-03T00:00:00"}, "/scheduled_date", "date_form"),
        ({"scheduled_date": "9000-12-32"}, "/scheduled_date", "date_from_datetime_parsing"),
        ({"scheduled_date": "9001-01-01"}, "/scheduled_date", "less_than_equal"),
        ({"time_window": {"start": "24:00", "end": "25:00"}}, "/time_window/start", "string_pattern_mismatch"),
        ({"time_window": {"start": "00:00", "end": "24:01"}}, "/time_window/end", "string_pattern_mismatch"),
        ({"time_window": {"start": "08:00", "end": "08:00"}}, "/time_window/end", "time_window_empty"),
        ({"contact": []}, "/contact", "model_attributes_type"),
        ({"contact": {"phone": "514 555-0100"}}, "/contact/phone", "phone_number"),
        ({"contact": {"phone": "+1 514 555-0100 ext. 7"}}, "/contact/phone", "phone_number"),
        ({"contact": {"email": "ada lovelace@example.com"}}, "/contact/email", "email_address"),
        ({"address": {"raw": "x", "country": "XX"}}, "/address/country", "country"),
        ({"actions": [{"quantity": 1_000_001}]}, "/actions/0/quantity", "less_than_equal"),
        ({"actions": [{"position": 0}]}, "/actions/0/position", "greater_than_equal"),
        ({"actions": [{"status": "completed"}]}, "/actions/0/status", "extra_forbidden"),
        ({"status": "completed"}, "/status", "extra_forbidden"),
        ({"location_id": new_id("mer")}, "/location_id", "id_kind"),
        ({"location_id": new_id("loc").upper()}, "/location_id", "id_kind"),
        ({"location_id": "loc_" + "z" * 26}, "/location_id", "id_form"),
        ({"distribution_location_id": 7}, "/distribution_location_id", "string_type"),
    ],
)
async def test_one_fault_is_one_violation(merchant: Merchant, more: dict[str, Any], pointer: str, code: str) -> None:
    # Python writes infinity as `Infinity`, which is not JSON; a client can send it as 1e400.
    content = json.dumps(smallest_job(**more)).replace("Infinity", "1e400")

    answer = await merchant.api.request(
        "POST", "/v1/jobs", content=content, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in errors]
    assert {error["pointer"].split("/")[1] for error in errors} == {pointer.split("/")[1]}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "body_missing"),
        (b"{", 400, "json_malformed"),
        (b"\xff\xfe", 400, "json_malformed"),
        (b'{"priority": NaN}', 400, "json_malformed"),
        (b'{"priority": 1, "priority": 2}', 400, "json_malformed"),
        (b'{"metadata": {"a": "1", "a": "2"}}', 400, "json_malformed"),
        (b"[" * 100_000, 400, "json_too_deep"),
        (b'{"tags": [' + b"[]," * 60_000 + b"[]]}", 400, "json_too_many_parts"),
        (b'{"metadata": {"text": "' + b"\\u0001" * 10_000 + b'"}}', 422, "invalid"),
        (b'{"metadata": ' + b"[" * 70 + b"]" * 70 + b"}", 400, "json_too_deep"),
        (b'{"reference_id": "a\x00b"}', 400, "json_malformed"),
        (b'{"reference_id": "a\\u0000b"}', 422, "invalid"),
        (b'{"reference_id": "\\ud800"}', 422, "invalid"),
        (b'{"reference_id": "a\x7fb"}', 422, "invalid"),
        (b'{"reference_id": "a\\u007fb"}', 422, "invalid"),
        (b'{"reference_id": "a\xc2\x85b"}', 422, "invalid"),
        (b'{"reference_id": "a\\u0085b"}', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b'"job"', 422, "invalid"),
        (b'{"instructions": "' + b"x" * 300_000 + b'"}', 413, "payload_too_large"),
    ],
)
async def test_an_unreadable_body_is_refused_with_a_code(
    merchant: Merchant, content: bytes, status: int, code: str
) -> None:
    answer = await merchant.api.request(
        "POST", "/v1/jobs", content=content, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_body_must_have_a_json_media_type(merchant: Merchant) -> None:
    content = json.dumps(smallest_job())

    answer = await merchant.api.request("POST", "/v1/jobs", content=content, headers={"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("status=lost", "status.0"),
        ("type=delivery&type=teleport", "type.1"),
        ("stauts=new", "stauts"),
        ("status[]=new", "status[]"),
        ("location_id=mer_01h455vb4pex5vsknk084sn02q", "location_id.0"),
        ("reference_id=", "reference_id"),
        ("reference_id=a%00b", "reference_id"),
        ("reference_id=a%7Fb", "reference_id"),
        ("reference_id=a%C2%85b", "reference_id"),
        ("created_gte=yesterday", "created_gte"),
        ("created_gte=1700000000", "created_gte"),
        ("created_gte=2026-01-01T00:00:00", "created_gte"),
        ("created_lte=9999-12-31T23:59:59-23:00", "created_lte"),
        ("&".join(["status=new"] * 51), "status"),
    ],
)
async def test_a_list_refuses_invalid_parameters(merchant: Merchant, query: str, parameter: str) -> None:
    answer = await merchant.api.get(f"/v1/jobs?{query}")

    assert answer.status_code == 422, answer.text
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "A" * 1000, "%00"])
async def test_a_forged_cursor_is_refused(merchant: Merchant, cursor: str) -> None:
    answer = await merchant.api.get("/v1/jobs", params={"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), answer.text


@pytest.mark.parametrize(
    "job_id", ["7", "mer_01h455vb4pex5vsknk084sn02q", "job_", "job_" + "z" * 26, "job_%00", "j" * 500]
)
async def test_an_id_of_the_wrong_kind_is_refused(merchant: Merchant, job_id: str) -> None:
    answer = await merchant.api.get(f"/v1/jobs/{job_id}")

    assert answer.status_code == 422, answer.text
    assert [error["parameter"] for error in answer.json()["errors"]] == ["job_id"]
