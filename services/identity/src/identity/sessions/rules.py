"""From which instant the session tokens of a person are valid, and what a client is called in a few words."""

import hashlib
import ipaddress
from datetime import datetime, timedelta


def next_valid_from(now: datetime, valid_from: datetime) -> datetime:
    """The instant before which a person's tokens are refused from now on. It only grows."""
    return max(now, valid_from)


def token_issued_at(now: datetime, valid_from: datetime) -> datetime:
    """The instant of issue of a new token: always after the instant before which the person's tokens are refused."""
    return max(now, valid_from + timedelta(microseconds=1))


_NETWORK_BITS = {4: 24, 6: 48}
"""Addresses of one network are one place: providers give out others of it from day to day."""
_CLIENTS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
    "curl": "curl",
    "python": "Python",
    "node": "Node.js",
    "Go-http-client": "Go",
    "Java": "Java",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
"""A word that a client says, and what it means. The first that fits counts: some clients say the words of others, too."""


def device_of(user_agent: str) -> str:
    """What a client calls itself, in a few coarse words; they are for people to recognise, and prove nothing."""
    client = next((name for word, name in _CLIENTS.items() if word in user_agent), None)
    system = next((name for word, name in _SYSTEMS.items() if word in user_agent), None)
    if client and system:
        return f"{client} on {system}"
    return client or system or "Unknown device"


def place_of(subject_id: str, address: str, user_agent: str) -> bytes:
    """The digest of the place from which a person logs in: its network and the kind of device. Of no use for anybody else."""
    try:
        ip = ipaddress.ip_address(address)
        network = str(ipaddress.ip_network(f"{ip}/{_NETWORK_BITS[ip.version]}", strict=False))
    except ValueError:
        network = address
    return hashlib.sha256(f"{subject_id}\n{network}\n{device_of(user_agent)}".encode()).digest()
