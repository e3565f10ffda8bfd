"""Which addresses a webhook may reach, and which URLs and custom headers an endpoint may have.

Addresses: public unicast by an explicit allow rule, and what the operator opened. `ipaddress.is_global` is no such rule: it passes
translated and tunnelled forms of private addresses (NAT64, 6to4, `::127.0.0.1`).
A name that resolves to a private address passes the check of the URL: the egress guard checks each address when a connection is made.
"""

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

from shared.errors import Violation

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA special-purpose registries, multicast and class E: everything in IPv4 that is not somebody's public unicast address. And one that
# is: under 168.63.129.16 every machine of a large cloud finds its own host's agent.
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
# Global unicast is what IANA hands out of 2000::/3, without its own protocol blocks (Teredo, ORCHID), documentation and 6to4.
_IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV6_REFUSED = tuple(
    IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20")
)
# The last 64 bits of an ISATAP address begin so (RFC 5214) and end in the IPv4 address that it is a tunnel to.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# Ports of services that are not HTTP and that an HTTP request can disturb or be abused for: mail, shells, stores, brokers.
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


def parse_networks(value: str) -> tuple[Network, ...]:
    """`10.1.0.0/16, fd00::/8` → networks. Raises `ValueError`."""
    return tuple(ip_network(entry.strip()) for entry in value.split(",") if entry.strip())


def may_connect(address: Address, port: int, allowed: Sequence[Network]) -> bool:
    """Whether a delivery may open a connection there; `allowed` are networks opened beyond the public ones."""
    return port not in BLOCKED_PORTS and may_reach(address, allowed)


def may_reach(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether deliveries may go to this address at all, on the ports that are open to them."""
    return is_public_unicast(address) or any(address in network for network in allowed)


def is_public_unicast(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    # A scope (`fe80::1%eth0`) names an interface of this machine.
    return (
        address.scope_id is None
        and address in _IPV6_GLOBAL_UNICAST
        and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
        and not any(address in network for network in _IPV6_REFUSED)
    )


def parse_address(host: str) -> Address | None:
    """The address that a host name spells, in any notation that an operating system reads; None for a name.

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
    """Whether a name ends in a number, so that one reader takes it for an address and another for a name (`1.2.3`, `host.0x7f`)."""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or _HEX.fullmatch(last) is not None


def is_local_name(host: str) -> bool:
    """Whether a name means this very machine, whatever a name server says (RFC 6761)."""
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
_RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)
_RESERVED_PREFIXES = ("webhook-", "proxy-", "sec-")


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart. `host` is in lower case; an IPv6 address stands without its brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    """With the query: what the request line names."""
    is_address: bool
    """Whether `host` is an address: no name server is asked."""

    @property
    def authority(self) -> str:
        """What the header `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_destination(url: str) -> Destination | None:
    """Where a URL leads; None for one that is not a URL of an endpoint, or that two readers may understand differently."""
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
    """Everything that is wrong with an endpoint's URL."""
    if len(url) > URL_LENGTH_MAX or not _URL.fullmatch(url):
        yield _url_violation(
            "url_form", f"at most {URL_LENGTH_MAX} characters, without spaces; percent-encode what a URL cannot hold"
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
        yield _url_violation("url_userinfo", "put credentials into a custom header, not into the URL")
    if parts.fragment or "#" in url:
        yield _url_violation("url_fragment", "a fragment never reaches a server: leave it out")
    if not host or (":" not in host and not _HOST.fullmatch(host)):
        yield _url_violation("url_host", "a host name or address is required")
        return
    if port == 0 or (port or _DEFAULT_PORTS.get(parts.scheme)) in BLOCKED_PORTS:
        yield _url_violation("url_port", "this port is not open to webhooks")
    elif not _may_be_public(host, allowed):
        yield _url_violation("url_not_public", "webhooks go to public addresses")
    elif not _is_host(host):
        yield _url_violation("url_host", "a host name, or an address in its usual form")


def header_violations(headers: Mapping[str, str]) -> Iterable[Violation]:
    """Everything that is wrong with an endpoint's custom headers."""
    if len(headers) > HEADERS_MAX:
        yield Violation("/headers", "too_many", f"at most {HEADERS_MAX} headers")
        return
    seen: set[str] = set()
    for name, value in headers.items():
        pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")
        lowered = name.lower()
        if len(name) > HEADER_NAME_LENGTH_MAX or not _HEADER_NAME.fullmatch(name):
            yield Violation(pointer, "header_name", "not a header name")
        elif lowered in _RESERVED_HEADERS or lowered.startswith(_RESERVED_PREFIXES):
            yield Violation(pointer, "header_reserved", "this header is set by Waybill or by the connection")
        elif lowered in seen:
            yield Violation(pointer, "header_twice", "header names are the same in upper and lower case")
        if len(value) > HEADER_VALUE_LENGTH_MAX or not _HEADER_VALUE.fullmatch(value):
            yield Violation(pointer, "header_value", f"1 to {HEADER_VALUE_LENGTH_MAX} printable ASCII characters")
        seen.add(lowered)


def _is_host(host: str) -> bool:
    """A host name, or an address as everybody writes it: no other spelling of one, and no scope of this machine's."""
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


def _url_violation(code: str, message: str) -> Violation:
    return Violation("/url", code, message)
