"""Types of values that more than one service takes: what each accepts, and the one form that it stores."""

import string
import zoneinfo
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from pydantic import TypeAdapter, ValidationError

from shared.fields.code_lists import COUNTRIES, CURRENCIES, time_zones
from shared.fields.contact import Email, OptionalEmail, OptionalPhone, Phone
from shared.fields.metadata import Metadata
from shared.fields.money import Currency
from shared.fields.numbers import Flag, Integer, Number, OptionalInteger, QueryFlag
from shared.fields.places import AddressIn, Country, GeoIn, OptionalCountry, OptionalTimeZone, TimeZone
from shared.fields.text import Name, OptionalName, OptionalReferenceId, OptionalText, PersonName, QueryText, ReferenceId

TYPES: dict[str, Any] = {
    "phone": Phone,
    "optional phone": OptionalPhone,
    "e-mail": Email,
    "optional e-mail": OptionalEmail,
    "metadata": Metadata,
    "currency": Currency,
    "country": Country,
    "optional country": OptionalCountry,
    "time zone": TimeZone,
    "optional time zone": OptionalTimeZone,
    "address": AddressIn,
    "point": GeoIn,
    "integer": Integer,
    "optional integer": OptionalInteger,
    "number": Number,
    "flag": Flag,
    "flag in a query": QueryFlag,
    "name": Name,
    "optional name": OptionalName,
    "person's name": PersonName,
    "reference id": ReferenceId,
    "optional reference id": OptionalReferenceId,
    "optional text": OptionalText,
    "text in a query": QueryText,
}
ADAPTERS = {name: TypeAdapter(kind) for name, kind in TYPES.items()}
OPTIONAL = [name for name in TYPES if name.startswith("optional ") and name != "optional integer"]

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["+1 514 555 0100", "ada@example.com", "America/Montreal", "Factory", "CA", "CAD", "true", "2", " ", ""]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
PARTS = st.sampled_from(["raw", "line1", "city", "country", "latitude", "longitude", "k"]) | st.text(max_size=5)
DOCUMENTS = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(PARTS, SCALARS, max_size=4)

COUNTRY_CODES = sorted(phonenumbers.SUPPORTED_REGIONS)
SEPARATORS = st.sampled_from([" ", "-", ".", "  ", ""])


def code_of(name: str, value: object) -> str:
    """The code of the violation that this value is refused with."""
    with pytest.raises(ValidationError) as refused:
        ADAPTERS[name].validate_python(value)
    return refused.value.errors()[0]["type"]


@pytest.mark.parametrize("name", TYPES)
@given(value=DOCUMENTS)
def test_any_document_is_refused_or_stored_in_a_form_that_is_accepted_again(name: str, value: object) -> None:
    adapter = ADAPTERS[name]
    try:
        stored = adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError:
        return
    assert adapter.dump_python(adapter.validate_python(stored), mode="json") == stored


@given(region=st.sampled_from(COUNTRY_CODES), separator=SEPARATORS, start=st.sampled_from(["+", " +", "tel:+"]))
def test_every_spelling_of_a_phone_number_is_stored_in_e164(region: str, separator: str, start: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    spelt = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL).replace(" ", separator)

    stored = ADAPTERS["phone"].validate_python(start + spelt.removeprefix("+"))

    assert stored == phonenumbers.format_number(number, PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    ("spelt", "reason"),
    [
        ("514 555-0100", "country code"),
        ("", "country code"),
        ("+44 20 7946 0018 ext 5", "extension"),
        ("+1 514 555-0100 x7", "extension"),
        ("+1 514 555 0100 poste 5", "extension"),
        ("+49 30 123456 Durchwahl 5", "extension"),
        ("+1 514 555 0100 p5", "extension"),
        ("+1 514 555", "too few digits"),
        ("+1 514 555 0100 000", "too many digits"),
        ("+999 123 456 789", "country code"),
    ],
)
def test_a_phone_number_is_refused_with_the_true_reason(spelt: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ADAPTERS["phone"].validate_python(spelt)
    assert code_of("phone", spelt) == "phone_number"


def test_an_email_address_is_stored_with_its_domain_in_lower_case() -> None:
    assert ADAPTERS["e-mail"].validate_python("Ada@EXAMPLE.com") == "Ada@example.com"
    assert code_of("e-mail", "ada@") == "email_address"


@given(st.text(string.ascii_letters + string.digits, min_size=2, max_size=3))
def test_countries_and_currencies_are_those_of_the_lists(code: str) -> None:
    for name, listed in (("country", COUNTRIES), ("currency", CURRENCIES)):
        if code in listed:
            assert ADAPTERS[name].validate_python(code) == code
        else:
            assert code_of(name, code) in (name, "string_too_long")


def test_the_code_lists_are_whole() -> None:
    assert {"CAD", "USD", "EUR", "JPY", "XOF"} <= CURRENCIES
    assert {"CA", "US", "FR", "SN"} <= COUNTRIES
    assert (len(CURRENCIES), len(COUNTRIES)) == (155, 249)
    assert not {"XXX", "XTS", "XAU", "ZZZ"} & CURRENCIES
    assert not {"ZZ", "XX", "UK", "EU"} & COUNTRIES


def test_every_time_zone_of_the_list_is_one() -> None:
    assert {"America/Montreal", "UTC", "Europe/Paris"} <= time_zones()
    for name in time_zones():
        zoneinfo.ZoneInfo(name)
    for name in ("Factory", "localtime", "posixrules", "america/montreal", "Mars/Olympus", "../etc/passwd"):
        assert code_of("time zone", name) == "time_zone"


@pytest.mark.parametrize("blank", ["", " ", "\t \n", "\u00a0"])
@pytest.mark.parametrize("name", OPTIONAL)
def test_blank_text_is_null_where_text_is_optional(name: str, blank: str) -> None:
    assert ADAPTERS[name].validate_python(blank) is None


@given(st.dictionaries(st.text(min_size=1, max_size=40).filter(str.strip), st.text(max_size=500), max_size=50))
def test_metadata_is_stored_exactly_as_sent(metadata: dict[str, str]) -> None:
    assert ADAPTERS["metadata"].validate_python(metadata) == metadata


@given(st.integers(-(2**53), 2**53))
def test_a_number_without_a_fraction_is_an_integer(value: int) -> None:
    stored = ADAPTERS["integer"].validate_python(float(value))
    assert (stored, type(stored)) == (value, int)


@pytest.mark.parametrize("value", ["2", True, 1.5, "", [], float("inf"), float("nan")])
def test_nothing_else_is_an_integer(value: object) -> None:
    assert code_of("integer", value) == "int_type"
    assert code_of("optional integer", value) == "int_type"


@pytest.mark.parametrize("value", ["yes", "true", 1, 0, "on"])
def test_only_true_and_false_are_flags(value: object) -> None:
    assert code_of("flag", value) == "bool_type"
    assert value == "true" or code_of("flag in a query", value) == "bool_form"


@pytest.mark.parametrize(
    ("address", "code"),
    [({}, "address_empty"), ({"city": "Montréal"}, "address_empty"), ({"raw": " ", "line1": ""}, "address_empty")],
)
def test_an_address_has_a_text_or_a_first_line(address: dict[str, str], code: str) -> None:
    assert code_of("address", address) == code
