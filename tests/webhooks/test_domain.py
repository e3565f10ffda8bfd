"""The rules by themselves: addresses, URLs, matching, retries, signatures, settings."""

import base64
import hmac
import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from shared.events import webhooks as facts
from shared.ids import new_id, to_uuid
from tests.support.webhooks import headers_of, job_created
from webhooks import signatures
from webhooks.config import Settings, parse_schedule
from webhooks.deliveries import rules as deliveries_rules
from webhooks.deliveries.rules import Decision
from webhooks.endpoints import rules as endpoints_rules
from webhooks.events import consumer
from webhooks.http_client import rules as http_client_rules
from webhooks.http_client.responses import Outcome
from webhooks.postgres import array_literals

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
SCHEDULE = (5.0, 300.0, 1800.0)

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.1",
    "100.128.0.1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not http_client_rules.may_connect(ip_address(address), 443, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_open(address: str) -> None:
    assert http_client_rules.may_connect(ip_address(address), 443, ())
    assert not http_client_rules.may_connect(ip_address(address), 25, ())


def test_an_operator_opens_networks_but_no_blocked_ports() -> None:
    allowed = http_client_rules.parse_networks("10.1.0.0/16, ::1/128")

    assert http_client_rules.may_connect(ip_address("10.1.2.3"), 8080, allowed)
    assert http_client_rules.may_connect(ip_address("::1"), 8080, allowed)
    assert not http_client_rules.may_connect(ip_address("10.2.2.3"), 8080, allowed)
    assert not http_client_rules.may_connect(ip_address("10.1.2.3"), 5432, allowed)
    assert not http_client_rules.may_connect(ip_address("::ffff:10.1.2.3"), 8080, allowed)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.com", "url_scheme"),
        ("ftp://example.com", "url_scheme"),
        ("gopher://example.com", "url_scheme"),
        ("https://", "url_host"),
        ("https:///path", "url_host"),
        ("https://user:secret@example.com", "url_userinfo"),
        ("https://@example.com", "url_userinfo"),
        ("https://example.com/#part", "url_fragment"),
        ("https://example.com:6379", "url_port"),
        ("https://example.com:0", "url_port"),
        ("https://example.com:99999", "url_form"),
        ("https://exam ple.com", "url_form"),
        ("https://example.com\\@127.0.0.1", "url_form"),
        ("https://[::1", "url_form"),
        ("https://127.0.0.1", "url_not_public"),
        ("https://127.1", "url_not_public"),
        ("https://2130706433", "url_not_public"),
        ("https://0x7f000001", "url_not_public"),
        ("https://0177.0.0.1", "url_not_public"),
        ("https://127.0.0.1.", "url_not_public"),
        ("https://[::1]:8443/x", "url_not_public"),
        ("https://[::ffff:7f00:1]", "url_not_public"),
        ("https://[fe80::1%25eth0]", "url_not_public"),
        ("https://169.254.169.254/latest/meta-data", "url_not_public"),
        ("https://localhost", "url_not_public"),
        ("https://LOCALHOST.", "url_not_public"),
        ("https://printer.localhost", "url_not_public"),
        ("https://127%2e0.0.1", "url_host"),
    ],
)
def test_a_url_that_cannot_be_an_endpoint_says_why(url: str, code: str) -> None:
    found = list(http_client_rules.url_violations(url, allow_http=False, allowed=()))

    assert [violation.code for violation in found] == [code]
    assert found[0].pointer == "/url"


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://example.com:8443/a/b?c=d&e=%20", "https://[2606:4700::1111]/"]
)
def test_a_public_https_url_can_be_an_endpoint(url: str) -> None:
    assert list(http_client_rules.url_violations(url, allow_http=False, allowed=())) == []


def test_http_and_loopback_are_open_where_the_operator_says_so() -> None:
    loopback = http_client_rules.parse_networks("127.0.0.0/8")

    assert list(http_client_rules.url_violations("http://127.0.0.1:8009/x", allow_http=True, allowed=loopback)) == []
    assert list(http_client_rules.url_violations("http://localhost:8009/x", allow_http=True, allowed=loopback)) == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "x"}, "header_reserved"),
        ({"content-length": "1"}, "header_reserved"),
        ({"Webhook-Signature": "v1,x"}, "header_reserved"),
        ({"Proxy-Authorization": "x"}, "header_reserved"),
        ({"User-Agent": "x"}, "header_reserved"),
        ({"traceparent": "x"}, "header_reserved"),
        ({"X A": "x"}, "header_name"),
        ({"": "x"}, "header_name"),
        ({"X-A": "a\r\nX-B: b"}, "header_value"),
        ({"X-A": ""}, "header_value"),
        ({"X-A": "x" * 1001}, "header_value"),
        ({"X-A": "1", "x-a": "2"}, "header_twice"),
        ({f"X-{number}": "x" for number in range(21)}, "too_many"),
    ],
)
def test_a_header_that_cannot_be_sent_says_why(headers: dict[str, str], code: str) -> None:
    assert [violation.code for violation in http_client_rules.header_violations(headers)] == [code]


@pytest.mark.parametrize(
    ("patterns", "wanted", "unwanted"),
    [
        (["*"], ["job.created", "endpoint.disabled"], []),
        (["job.*"], ["job.created", "job.status.changed"], ["jobs.created", "job", "endpoint.created"]),
        (["job.created"], ["job.created"], ["job.created.again", "job.creat"]),
        (["job.created", "endpoint.*"], ["job.created", "endpoint.updated"], ["job.updated"]),
    ],
)
def test_event_types_match_exactly_by_prefix_or_all(
    patterns: list[str], wanted: list[str], unwanted: list[str]
) -> None:
    assert all(endpoints_rules.wants_type(patterns, event_type) for event_type in wanted)
    assert not any(endpoints_rules.wants_type(patterns, event_type) for event_type in unwanted)


@pytest.mark.parametrize(
    "pattern", ["", "Job.created", "job.", "job.*.x", "*.created", "job*", "job created", "j" * 101]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert not endpoints_rules.is_pattern(pattern)


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


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_a_signature_is_the_hmac_of_keys_of_any_length(length: int) -> None:
    key, body = random.Random(length).randbytes(length), b'{"a": 1}'
    expected = base64.b64encode(hmac.digest(key, b"evt_1.1700000000." + body, "sha256")).decode()

    signer = signatures.Signer([key, key])

    for _ in range(2):
        assert signer.sign("evt_1", 1_700_000_000, body) == f"v1,{expected} v1,{expected}"


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-01-02T03:04:05.000006+00:00", "2026-01-02T03:04:05.000006Z"),
        ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02 05:04:05.000006+02:00", "2026-01-02T03:04:05.000006Z"),
        ("2026-W01-5T03:04:05.000006+00:00", "2026-01-02T03:04:05.000006Z"),
    ],
)
def test_an_event_is_read_with_its_instant_and_its_id(time: str, shown: str) -> None:
    event = job_created(new_id("ten"))

    fact = consumer.read_event({**headers_of(event), "ce_time": time}, event.value())

    assert fact is not None
    document = json.loads(fact.event.message.body)
    assert (document["timestamp"], document["type"]) == (shown, "job.created")
    assert document["data"] == json.loads(event.value())
    assert fact.event.message.occurred_at == datetime.fromisoformat(shown)
    assert fact.event.id == to_uuid(event.id)


@pytest.mark.parametrize("suffix", ["8" + "0" * 25, "0" * 25, "0" * 27, "0" * 25 + "I", "0" * 25 + "u", "0" * 25 + "_"])
def test_an_event_whose_id_is_none_is_not_read(suffix: str) -> None:
    event = job_created(new_id("ten"))

    with pytest.raises(ValueError, match="is not an id"):
        consumer.read_event({**headers_of(event), "ce_id": f"evt_{suffix}"}, event.value())


def test_texts_are_quoted_as_the_database_reads_them() -> None:
    assert array_literals.text_array_literal([]) == "{}"
    assert array_literals.text_array_literal(["a", "", "null", "{b}"]) == '{"a","","null","{b}"}'
    assert array_literals.text_array_literal(["a", None]) == '{"a",null}'
    assert array_literals.text_array_literal(['a","b', "c\\d"]) == '{"a\\",\\"b","c\\\\d"}'


def test_the_public_library_accepts_our_signature_and_no_other() -> None:
    key, other = signatures.new_secret(), signatures.new_secret()
    body = json.dumps({"type": "job.created", "city": "Montréal"}, ensure_ascii=False).encode()
    now = int(datetime.now(UTC).timestamp())
    value = signatures.Signer([other, key]).sign("evt_1", now, body)
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": value}

    Webhook(signatures.format_secret(key)).verify(body, headers)
    for forged in ({"webhook-id": "evt_2"}, {"webhook-timestamp": str(now + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(signatures.format_secret(key)).verify(body, {**headers, **forged})
    with pytest.raises(WebhookVerificationError):
        Webhook(signatures.format_secret(key)).verify(body + b" ", headers)


def test_the_schedule_is_read_with_and_without_brackets() -> None:
    assert parse_schedule("5, 300,1800") == SCHEDULE
    assert parse_schedule("[5,300,1800]") == SCHEDULE
    assert parse_schedule("") == ()
    for wrong in ("5,x", "0", "-1", "nan", "inf", "999999999", ",".join(["1"] * 51)):
        with pytest.raises(ValueError, match=r"expected seconds|at most|could not convert"):
            parse_schedule(wrong)


def test_private_networks_are_closed_and_https_demanded_by_default() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}

    assert defaults["allowed_private_networks"] == ""
    assert defaults["allow_http"] is False
    assert parse_schedule(defaults["retry_schedule_seconds"]) == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


def test_a_network_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_ALLOWED_PRIVATE_NETWORKS", "127.0.0.1/8")
    with pytest.raises(ValidationError, match="has host bits set"):
        Settings()


def test_what_is_published_of_an_endpoint_has_no_secret() -> None:
    assert set(facts.EndpointState.model_fields).isdisjoint({"secret", "headers", "secrets"})
