"""Networks in settings, and the address of a client behind trusted proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS_MAX = 20
"""Proxies that one request is followed through; further ones are not looked at."""


def parse_networks(value: str) -> tuple[Network, ...]:
    """Networks from text such as `10.1.0.0/16, fd00::/8`. Raises `ValueError`."""
    return tuple(ip_network(entry.strip()) for entry in value.split(",") if entry.strip())


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address: the first that is no trusted proxy, from the peer through `X-Forwarded-For` from the right.

    What an untrusted hop says of others counts for nothing. Where a trusted proxy names no address, it is itself the client.
    """
    if not trusted:
        return peer
    client = _parse(peer)
    if client is None:
        return peer
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    for hop in reversed(hops[-HOPS_MAX:]):
        if not any(client in network for network in trusted):
            break
        named = _parse(hop)
        if named is None:
            break
        client = named
    return str(client)


def is_here(host: str) -> bool:
    """Whether this is the machine itself, by a name or address that cannot be another's."""
    try:
        return host in ("", "localhost") or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _parse(hop: str) -> Address | None:
    """An address as proxies write it: perhaps with a port, in brackets, or as IPv4 inside IPv6."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
