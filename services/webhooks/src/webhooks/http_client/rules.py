"""Which addresses a webhook may reach, and which URLs and custom headers an endpoint may have.

Allowed addresses are public unicast, by an explicit rule, and the networks that the operator opened. `ipaddress.is_global` is not enough:
it accepts translated and tunnelled forms of private addresses (NAT64, 6to4, `::127.0.0.1`). A name that resolves to a private address
passes the check of the URL; the egress guard checks each address when a connection is made.
"""

import re
import socket
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import urlsplit

from shared.errors import Violation

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Everything in IPv4 that is not public unicast: the IANA special-purpose registry, multicast and class E. And 168.63.129.16, which is
# public unicast, but the address of the host's agent on every machine of a large cloud.
_IPV4_REFUSED = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Global unicast is 2000::/3 without the blocks of IANA protocols (Teredo, ORCHID), documentation and 6to4.
_IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV6_REFUSED = tuple(
    IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20")
)
# The last 64 bits of an ISATAP address begin with one of these (RFC 5214) and end with the IPv4 address to which it is a tunnel.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# Ports of other protocols, whose services an HTTP request could disturb or abuse: mail, shells, databases, brokers.
# fmt: off
BLOCKED_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 138, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515,
    526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723,
    1883, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 4369, 5060, 5061, 5432, 5671, 5672, 5900,
    5984, 5985, 5986, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 8883, 9042, 9092, 10080,
    10250, 11211, 25672, 27017, 27018, 27019, 33060,
))
# fmt: on

_HEX = re.compile(r"0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_LOCAL_NAMES = ("localhost", "localhost.localdomain")


def may_connect(address: Address, port: int, allowed: Sequence[Network]) -> bool:
    """True if a delivery may connect to this address and port. `allowed`: networks in addition to the public ones."""
    return port not in BLOCKED_PORTS and may_reach(address, allowed)


def may_reach(address: Address, allowed: Sequence[Network]) -> bool:
    """True if a delivery may connect to this address on any port."""
    return is_public_unicast(address) or any(address in network for network in allowed)


def is_public_unicast(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    # A scope id (`fe80::1%eth0`) names an interface of this machine.
    return (
        address.scope_id is None
        and address in _IPV6_GLOBAL_UNICAST
        and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
        and not any(address in network for network in _IPV6_REFUSED)
    )


def parse_address(host: str) -> Address | None:
    """The address that a host spells, in any notation that an operating system accepts; None for a name.

    `127.1`, `0x7f000001`, `2130706433` and `0177.0.0.1` are all 127.0.0.1 to `getaddrinfo`.
    """
    bare = host.strip("[]").rstrip(".")
    try:
        return ip_address(bare)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(bare)) if bare and bare[-1].isalnum() and " " not in bare else None
    except (OSError, UnicodeError):
        return None


def is_numeric_name(host: str) -> bool:
    """True if the last label is a number, so that one parser reads an address and another a name (`1.2.3`, `host.0x7f`)."""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or _HEX.fullmatch(last) is not None


def is_local_name(host: str) -> bool:
    """True if a name always means this machine (RFC 6761)."""
    name = host.lower().rstrip(".")
    return name in _LOCAL_NAMES or name.endswith(".localhost")


URL_LENGTH_MAX = 2048
HOST_LENGTH_MAX = 253
HEADERS_MAX = 20
HEADER_NAME_LENGTH_MAX = 100
HEADER_VALUE_LENGTH_MAX = 1000

_URL = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII | re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)
_DEFAULT_PORTS = {"https": 443, "http": 80}
# Set by the sender or by the connection, of one hop alone, made by proxies to say who called, believed by clouds or by frameworks
# behind them, or such that a receiver answers with something else than it was asked.
_RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "accept-ranges",
        "age",
        "alt-svc",
        "alt-used",
        "cdn-loop",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "cf-ipcountry",
        "cf-pseudo-ipv4",
        "cf-ray",
        "cf-visitor",
        "cf-worker",
        "client-ip",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "cookie",
        "cookie2",
        "date",
        "digest",
        "early-data",
        "expect",
        "fastly-client-ip",
        "forwarded",
        "front-end-https",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "max-forwards",
        "metadata",
        "range",
        "remote-addr",
        "repr-digest",
        "request-range",
        "set-cookie",
        "set-cookie2",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "trailers",
        "transfer-encoding",
        "true-client-ip",
        "upgrade",
        "user-agent",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-custom-ip-authorization",
        "x-host",
        "x-identity-header",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-originating-ip",
        "x-proxy-user-ip",
        "x-real-ip",
        "x-remote-addr",
        "x-remote-ip",
        "x-rewrite-url",
        "x-scheme",
        "x-url-scheme",
    }
)
_RESERVED_PREFIXES = (
    "access-control-",
    "metadata-",
    "proxy-",
    "sec-",
    "webhook-",
    "x-amz-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-aws-",
    "x-azure-",
    "x-envoy-",
    "x-forward",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-google-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-original-",
)


@dataclass(frozen=True, slots=True)
class Destination:
    """The parts of a URL. `host` is in lower case; an IPv6 address has no brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    """The path with the query, as in the request line."""
    is_address: bool
    """True if `host` is an address, so that no look-up is needed."""

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_destination(url: str) -> Destination | None:
    """The destination of a URL; None if no endpoint may have it, or if two parsers may read it differently."""
    if len(url) > URL_LENGTH_MAX or not _URL.fullmatch(url) or "#" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc or port == 0 or not _is_host(host):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(
        scheme="https" if parts.scheme == "https" else "http",
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        path=path,
        is_address=":" in host or _is_dotted_quad(host),
    )


def url_violations(url: str, *, allow_http: bool, allowed: Sequence[Network]) -> Iterable[Violation]:
    """All violations of an endpoint's URL."""
    if (spelled := _international(url)) is not None:
        yield spelled
        return
    if len(url) > URL_LENGTH_MAX or not _URL.fullmatch(url):
        yield _url_violation(
            "url_form",
            f"at most {URL_LENGTH_MAX} characters, without spaces; percent-encode characters that a URL cannot have",
        )
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield _url_violation("url_form", "not a well-formed URL")
        return
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or (parts.scheme == "http" and not allow_http):
        yield _url_violation("url_scheme", "the scheme must be https" + (" or http" if allow_http else ""))
    if "@" in parts.netloc:
        yield _url_violation("url_userinfo", "a URL may not have credentials: use a custom header")
    if parts.fragment or "#" in url:
        yield _url_violation("url_fragment", "a URL may not have a fragment: it is never sent to a server")
    if not host or (":" not in host and not _HOST.fullmatch(host)):
        yield _url_violation("url_host", "a host name or address is required")
        return
    if port == 0 or (port or _DEFAULT_PORTS.get(parts.scheme)) in BLOCKED_PORTS:
        yield _url_violation("url_port", "this port is not open to webhooks")
    elif not _may_be_public(host, allowed):
        yield _url_violation("url_not_public", "webhooks are sent only to public addresses")
    elif not _is_host(host):
        yield _url_violation("url_host", "a host name, or an address in its usual notation")


def header_violations(headers: Mapping[str, str]) -> Iterable[Violation]:
    """All violations of an endpoint's custom headers."""
    if len(headers) > HEADERS_MAX:
        yield Violation("/headers", "too_many", f"at most {HEADERS_MAX} headers")
        return
    seen: set[str] = set()
    for name, value in headers.items():
        pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")
        lowered = name.lower()
        if len(name) > HEADER_NAME_LENGTH_MAX or not _HEADER_NAME.fullmatch(name):
            yield Violation(pointer, "header_name", "not a header name")
        elif _is_reserved(lowered):
            yield Violation(
                pointer, "header_reserved", "this header is set by Waybill, by the connection or by a proxy"
            )
        elif lowered in seen:
            yield Violation(pointer, "header_twice", "header names are case-insensitive: this one is there twice")
        if len(value) > HEADER_VALUE_LENGTH_MAX or not _HEADER_VALUE.fullmatch(value):
            yield Violation(pointer, "header_value", f"1 to {HEADER_VALUE_LENGTH_MAX} printable ASCII characters")
        seen.add(lowered)


def _is_reserved(name: str) -> bool:
    # CGI and what came after it read `X_Real_IP` as `X-Real-IP`.
    plain = name.replace("_", "-")
    return plain in _RESERVED_HEADERS or plain.startswith(_RESERVED_PREFIXES)


def _is_host(host: str) -> bool:
    """True for a host name and for an address in its usual notation, without a scope id."""
    if ":" in host:
        return "%" not in host and parse_address(host) is not None
    if len(host) > HOST_LENGTH_MAX or not _HOST.fullmatch(host):
        return False
    return _is_dotted_quad(host) or not is_numeric_name(host)


def _is_dotted_quad(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _may_be_public(host: str, allowed: Sequence[Network]) -> bool:
    address = parse_address(host)
    if address is not None:
        return is_public_unicast(address) or any(address in network for network in allowed)
    return not is_local_name(host) or any(network.is_loopback for network in allowed)


def _international(url: str) -> Violation | None:
    """The violation of a URL whose host has characters beyond ASCII; None for all others."""
    try:
        host = urlsplit(url).hostname or ""
        if len(url) > URL_LENGTH_MAX or host.isascii():
            return None
    except ValueError:
        return None
    labels = unicodedata.normalize("NFC", host).split(".")
    punycode = ".".join(one if one.isascii() else f"xn--{one.encode('punycode').decode()}" for one in labels)
    return _url_violation("url_host_international", f"write the host name in its ASCII form (punycode): {punycode}")


def _url_violation(code: str, message: str) -> Violation:
    return Violation("/url", code, message)
