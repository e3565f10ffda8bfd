"""The egress guard: the only place that opens sockets for deliveries. It checks the exact address that it then connects to.

A check of the URL is not enough: a name may resolve to a private address, or to another one the next time, and addresses have more
spellings than a parser knows. Here the checked address is the one that the operating system gets.
"""

import asyncio
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from webhooks.http_client import rules
from webhooks.http_client.responses import Cause, CauseDetail
from webhooks.http_client.rules import Address, Network

ADDRESSES_PARSED_MAX = 4096


class NotConnected(Exception):
    """No connection was made. `cause` and `cause_detail` are those of the attempt log."""

    def __init__(self, cause: Cause, reason: str, cause_detail: CauseDetail | None = None):
        super().__init__(reason)
        self.cause: Cause = cause
        self.cause_detail: CauseDetail | None = cause_detail


def check(host: str, port: int, allowed: Sequence[Network]) -> None:
    """Raise `NotConnected` unless deliveries may connect to this port of this numeric address."""
    if not rules.may_connect(_parse(host), port, allowed):
        raise NotConnected("blocked", f"{host} port {port} is not open to webhooks")


def check_address(host: str, allowed: Sequence[Network]) -> None:
    """Raise `NotConnected` unless deliveries may connect to any port of this numeric address."""
    if not rules.may_reach(_parse(host), allowed):
        raise NotConnected("blocked", f"{host} is not open to webhooks")


async def connected_socket(host: str, port: int, allowed: Sequence[Network]) -> socket.socket:
    """A socket that is connected to this numeric address. Raises `NotConnected`, `OSError`. The caller sets the time limit."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        check(host, port, allowed)
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


@lru_cache(ADDRESSES_PARSED_MAX)
def _parse(host: str) -> Address:
    try:
        return ip_address(host)
    except ValueError as error:
        raise NotConnected("blocked", f"{host} is not a plain address") from error
