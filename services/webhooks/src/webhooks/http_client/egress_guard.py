"""The one way out: every connection of a delivery is made here, to the exact address that was checked a line before.

A check of the URL would not do: names resolve to private addresses, may resolve differently the next time, and addresses have more
spellings than a parser knows. Here the address is what the operating system is given.
"""

import asyncio
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from webhooks.http_client import rules
from webhooks.http_client.responses import Cause
from webhooks.http_client.rules import Address, Network

ADDRESSES_PARSED_MAX = 4096


class NotConnected(Exception):
    """No connection was made; why, as the log of attempts has it."""

    def __init__(self, cause: Cause, reason: str):
        super().__init__(reason)
        self.cause: Cause = cause


def check(host: str, port: int, allowed: Sequence[Network]) -> None:
    """Raises `NoConnection` unless this port of this numeric address may be connected to."""
    if not rules.may_connect(_parse(host), port, allowed):
        raise NotConnected("blocked", f"{host} port {port} is not open to webhooks")


def check_address(host: str, allowed: Sequence[Network]) -> None:
    """Raises `NoConnection` unless there are ports of this numeric address that may be connected to."""
    if not rules.may_reach(_parse(host), allowed):
        raise NotConnected("blocked", f"{host} is not open to webhooks")


async def connected_socket(host: str, port: int, allowed: Sequence[Network]) -> socket.socket:
    """A connected socket of this numeric address. Raises `NoConnection`, `OSError`; its time is the caller's bound."""
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
