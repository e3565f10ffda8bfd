"""Addresses that a webhook may reach, and URLs and custom headers that an endpoint may have."""

from ipaddress import ip_address

import pytest

from shared.chassis.networks import parse_networks
from webhooks.http_client import rules as http_client_rules

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
    allowed = parse_networks("10.1.0.0/16, ::1/128")

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
        ("https://münchen.de/", "url_host_international"),
        ("https://例え.テスト/hooks?a=b", "url_host_international"),
        ("https://example.com/ü", "url_form"),
    ],
)
def test_a_url_that_cannot_be_an_endpoint_says_why(url: str, code: str) -> None:
    found = list(http_client_rules.url_violations(url, allow_http=False, allowed=()))

    assert [violation.code for violation in found] == [code]
    assert found[0].pointer == "/url"


def test_an_international_host_name_is_refused_with_its_ascii_form() -> None:
    (found,) = http_client_rules.url_violations("https://MÜNCHEN.de/x", allow_http=False, allowed=())

    assert found.message.endswith("(punycode): xn--mnchen-3ya.de")


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://example.com:8443/a/b?c=d&e=%20", "https://[2606:4700::1111]/"]
)
def test_a_public_https_url_can_be_an_endpoint(url: str) -> None:
    assert list(http_client_rules.url_violations(url, allow_http=False, allowed=())) == []


def test_http_and_loopback_are_open_where_the_operator_says_so() -> None:
    loopback = parse_networks("127.0.0.0/8")

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
        *(
            ({name: "x"}, "header_reserved")
            for name in (
                *(
                    "Forwarded",
                    "X-Real-IP",
                    "X_Real_IP",
                    "X-Forwarded-Port",
                    "X-Forwarded",
                    "True-Client-IP",
                    "CF-Connecting-IP",
                ),
                *("Metadata-Flavor", "Metadata", "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"),
                *(
                    "X-Google-Metadata-Request",
                    "X-Amzn-Oidc-Data",
                    "X-MS-CLIENT-PRINCIPAL-ID",
                    "X-Goog-IAP-JWT-Assertion",
                ),
                *(
                    "Range",
                    "If-Range",
                    "If-None-Match",
                    "Trailers",
                    "TE",
                    "Keep-Alive",
                    "HTTP2-Settings",
                    "Max-Forwards",
                ),
                *(
                    "X-HTTP-Method-Override",
                    "X-Original-URL",
                    "X-Rewrite-URL",
                    "Early-Data",
                    "Access-Control-Request-Method",
                ),
            )
        ),
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
    "name",
    [
        "Authorization",
        "X-Api-Key",
        "X-Goog-Api-Key",
        "X-Functions-Key",
        "CF-Access-Client-Id",
        "X-Request-Id",
        "Accept",
    ],
)
def test_a_header_by_which_a_receiver_knows_who_sends_can_be_sent(name: str) -> None:
    assert list(http_client_rules.header_violations({name: "x"})) == []
