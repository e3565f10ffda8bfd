"""Values that identity refuses or stores in another form: by the same rules, and with the same codes, as jobs."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from identity.fields import LoginEmail
from tests.harness.bodies import location_body, merchant_body, tenant_body, unique
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant

LOGIN_EMAIL: TypeAdapter[str] = TypeAdapter(LoginEmail)


def violations(problem: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((error["pointer"], error["code"]) for error in problem["errors"])


@pytest.mark.parametrize("zone", ["Factory", "localtime", "posixrules", "Mars/Olympus", "america/montreal"])
async def test_a_location_is_in_a_time_zone(tenant: Tenant, zone: str) -> None:
    made = await tenant.owner.create("/v1/locations", location_body())

    created = await tenant.owner.post("/v1/locations", {"name": "Laval", "timezone": zone})
    changed = await tenant.owner.patch(f"/v1/locations/{made['id']}", {"timezone": zone})

    assert violations(refused(created, 422, "invalid")) == [("/timezone", "time_zone")]
    assert violations(refused(changed, 422, "invalid")) == [("/timezone", "time_zone")]


@pytest.mark.parametrize(
    ("more", "violation"),
    [
        ({"country": "ZZ"}, ("/country", "country")),
        ({"country": "ca"}, ("/country", "country")),
        ({"country": "CAN"}, ("/country", "string_too_long")),
        ({"currency": "ZZZ"}, ("/currency", "currency")),
        ({"currency": "cad"}, ("/currency", "currency")),
        ({"currency": "XAU"}, ("/currency", "currency")),
        ({"timezone": "Factory"}, ("/timezone", "time_zone")),
        ({"trial_days": "30"}, ("/trial_days", "int_type")),
        ({"trial_days": True}, ("/trial_days", "int_type")),
        ({"test": "yes"}, ("/test", "bool_type")),
        ({"job_review": 1}, ("/job_review", "bool_type")),
    ],
)
async def test_a_tenant_is_of_this_world(identity: Identity, more: dict[str, Any], violation: tuple[str, str]) -> None:
    answer = await identity.platform.post("/v1/tenants", tenant_body(unique("Livraisons"), **more))

    assert violations(refused(answer, 422, "invalid")) == [violation]


@pytest.mark.parametrize(
    ("more", "violation"),
    [
        ({"phone": "514 555-0100"}, ("/phone", "phone_number")),
        ({"phone": "+44 20 7946 0018 ext 5"}, ("/phone", "phone_number")),
        ({"contact_email": "ada@"}, ("/contact_email", "email_address")),
        ({"login_email": " "}, ("/login_email", "email_address")),
        ({"level": "2"}, ("/level", "int_type")),
        ({"level": True}, ("/level", "int_type")),
        ({"level": 3}, ("/level", "literal_error")),
        ({"api_access": "yes"}, ("/api_access", "bool_type")),
        ({"api_access": 1}, ("/api_access", "bool_type")),
        ({"business_name": " "}, ("/business_name", "string_too_short")),
        ({"business_name": "\u200b"}, ("/business_name", "string_too_short")),
        ({"address": {"city": "Montréal"}}, ("/address/line1", "address_empty")),
        ({"address": {"raw": "1 Rue X", "country": "ZZ"}}, ("/address/country", "country")),
        ({"metadata": {" ": "v"}}, ("/metadata/ ", "metadata_key")),
        ({"metadata": {"a": 1}}, ("/metadata/a", "metadata_value")),
    ],
)
async def test_a_merchant_is_judged_as_a_job_is(
    tenant: Tenant, more: dict[str, Any], violation: tuple[str, str]
) -> None:
    answer = await tenant.owner.post("/v1/merchants", merchant_body(tenant.default_location, **more))

    assert violations(refused(answer, 422, "invalid")) == [violation]


async def test_common_spellings_are_stored_in_one_form(tenant: Tenant) -> None:
    made = await tenant.create_merchant(
        api_access=False,
        phone=" +1 (514) 555-0100 ",
        contact_email="Ada@EXAMPLE.com",
        address={"line1": " 1 Rue X ", "line2": "", "country": "CA"},
        reference_id="  ",
        metadata={" shop ": " 7 "},
        level=2.0,
    )

    stored = await tenant.owner.read(f"/v1/merchants/{made.id}")
    assert (stored["phone"], stored["contact_email"], stored["level"]) == ("+15145550100", "Ada@example.com", 2)
    assert (stored["address"]["line1"], stored["address"]["line2"]) == ("1 Rue X", None)
    assert (stored["reference_id"], stored["metadata"]) == (None, {" shop ": " 7 "})


async def test_blank_text_removes_what_is_optional(tenant: Tenant) -> None:
    made = await tenant.create_merchant(
        api_access=False, phone="+15145550100", contact_email="ada@example.com", reference_id=unique("M")
    )

    path = f"/v1/merchants/{made.id}"
    changed = document(await tenant.owner.patch(path, {"phone": "", "contact_email": " ", "reference_id": ""}))

    assert (changed["phone"], changed["contact_email"], changed["reference_id"]) == (None, None, None)


@pytest.mark.parametrize("path", ["/v1/merchants?api_access=yes", "/v1/locations?active=1"])
async def test_a_flag_in_a_query_is_true_or_false(tenant: Tenant, path: str) -> None:
    problem = refused(await tenant.owner.get(path), 422, "invalid")

    assert [error["code"] for error in problem["errors"]] == ["bool_form"]


@pytest.mark.parametrize(
    "address",
    [
        "\u0430da@example.com",
        "\u0430.lovelace@example.com",
        "ada@ex\u0430mple.com",
        "paypa\u04cf@example.com",
        "\u0905a@example.com",
        "\uff41da@example.com",
        "\ufb01x@example.com",
        "a\ufe0fda@example.com",
        "a\u3164da@example.com",
        "a\u200bda@example.com",
        "a\u202eda@example.com",
        f"{'x' * 65}@example.com",
    ],
)
def test_an_address_that_looks_like_another_is_refused(address: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        LOGIN_EMAIL.validate_python(address)

    assert [error["type"] for error in refusal.value.errors()] == ["email_address"]


@pytest.mark.parametrize(
    "address",
    [
        "ada.lovelace+tag@example.com",
        "m\u00fcnchen@b\u00fccher.de",
        "\u0430\u0434\u0430@\u043f\u0440\u0438\u043c\u0435\u0440.com",
        "\u03b1\u03b4\u03b1@example.com",
        "\u5c71\u7530taro@example.com",
        "\uae40\ucca0\uc218@example.kr",
        "\u0930\u093e\u092e@example.com",
        "\u0645\u062d\u0645\u062f@example.com",
        f"{'x' * 64}@example.com",
    ],
)
def test_an_address_in_one_script_is_accepted(address: str) -> None:
    assert LOGIN_EMAIL.validate_python(address) == address


async def test_what_is_wrong_with_an_address_or_a_name_is_said_of_its_field(tenant: Tenant) -> None:
    over_long = f"ada@{'x.' * 130}com"
    confusing = {"login_email": "\u0430da@example.com", "business_name": "Boulangerie \u202eadA"}
    person = {"email": over_long, "first_name": "\u2067Sam", "last_name": "Staff", "permissions": []}

    merchant = await tenant.owner.post("/v1/merchants", merchant_body(tenant.default_location, **confusing))
    staff = await tenant.owner.post("/v1/staff", person)
    bell = await tenant.owner.post("/v1/staff", {**person, "last_name": "St\u0007aff"})
    change = await tenant.owner.post("/v1/email-changes", {"email": "\u0430da@example.com"})

    assert violations(refused(merchant, 422, "invalid")) == [
        ("/business_name", "direction_mark"),
        ("/login_email", "email_address"),
    ]
    assert violations(refused(staff, 422, "invalid")) == [
        ("/email", "string_too_long"),
        ("/first_name", "direction_mark"),
    ]
    assert violations(refused(bell, 422, "invalid")) == [("/last_name", "control_character")]
    assert violations(refused(change, 422, "invalid")) == [("/email", "email_address")]
