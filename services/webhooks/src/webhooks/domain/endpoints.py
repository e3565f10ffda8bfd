"""What an endpoint may be: its URL and its custom headers, judged when they are written.

A name that resolves to a private address passes here: the last word is spoken when a connection is made (`webhooks.worker.dialer`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal
from urllib.parse import urlsplit

from shared.errors import Violation
from webhooks.domain import addresses
from webhooks.domain.addresses import Network

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


def destination(url: str) -> Destination | None:
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
        yield _url(
            "url_form", f"at most {URL_LENGTH_MAX} characters, without spaces; percent-encode what a URL cannot hold"
        )
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield _url("url_form", "not a well-formed URL")
        return
    host = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or (parts.scheme == "http" and not allow_http):
        yield _url("url_scheme", "the scheme must be https" + (" or http" if allow_http else ""))
    if "@" in parts.netloc:
        yield _url("url_userinfo", "put credentials into a custom header, not into the URL")
    if parts.fragment or "#" in url:
        yield _url("url_fragment", "a fragment never reaches a server: leave it out")
    if not host or (":" not in host and not _HOST.fullmatch(host)):
        yield _url("url_host", "a host name or address is required")
        return
    if port == 0 or (port or _DEFAULT_PORTS.get(parts.scheme)) in addresses.BLOCKED_PORTS:
        yield _url("url_port", "this port is not open to webhooks")
    elif not _may_be_public(host, allowed):
        yield _url("url_not_public", "webhooks go to public addresses")
    elif not _is_host(host):
        yield _url("url_host", "a host name, or an address in its usual form")


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
        return "%" not in host and addresses.literal(host) is not None
    if len(host) > HOST_LENGTH_MAX or not _HOST.fullmatch(host):
        return False
    return _is_dotted_quad(host) or not addresses.is_numeric_name(host)


def _is_dotted_quad(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _may_be_public(host: str, allowed: Sequence[Network]) -> bool:
    address = addresses.literal(host)
    if address is not None:
        return addresses.is_public_unicast(address) or any(address in network for network in allowed)
    return not addresses.is_local_name(host) or any(network.is_loopback for network in allowed)


def _url(code: str, message: str) -> Violation:
    return Violation("/url", code, message)
