"""Which addresses a webhook may go to: public unicast by an explicit allow rule, and what the operator opened.

`ipaddress.is_global` is no such rule: it passes translated and tunnelled forms of private addresses (NAT64, 6to4, `::127.0.0.1`).
"""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

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


def literal(host: str) -> Address | None:
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
