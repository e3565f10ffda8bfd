"""What connections of a process have in common: how many an address has, what is held for slow clients, what is read in a turn."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Protocol

from shared.chassis.networks import Network

BODY_BYTES_PER_TURN = 512 * 1024
"""What is read of all bodies before the application has a turn of the event loop."""


class Bounded(Protocol):
    """A connection of an address."""

    address: str

    @property
    def is_serving(self) -> bool: ...
    def abort(self) -> None: ...


class Connection(Bounded, Protocol):
    """What is asked of a connection that is read."""

    transport: asyncio.Transport
    flow: Any
    loop: asyncio.AbstractEventLoop
    connections: Any

    @property
    def waits(self) -> bool: ...
    @property
    def has_unread_body(self) -> bool: ...


class Addresses:
    """The connections of each address. One that has more than its share loses the connection that has waited longest for its client.

    A trusted proxy brings many clients: it has no share.
    """

    def __init__(self, connections_max: int, trusted_proxies: Sequence[Network]):
        self._connections_max = connections_max
        self._trusted_proxies = trusted_proxies
        self._connections: dict[str, dict[Bounded, None]] = {}

    def enter(self, address: str, connection: Bounded) -> bool:
        """Whether there is room for one more connection of this address."""
        if address and any(ip_address(address) in network for network in self._trusted_proxies):
            return True
        connections = self._connections.setdefault(address, {})
        if len(connections) >= self._connections_max:
            longest = next((one for one in connections if not one.is_serving), None)
            if longest is None:
                return False
            self.leave(address, longest)
            longest.abort()
            connections = self._connections.setdefault(address, {})
        connections[connection] = None
        return True

    def renew(self, address: str, connection: Bounded) -> None:
        """This connection has been answered: it has waited for the shortest time."""
        connections = self._connections.get(address)
        if connections is not None and connection in connections:
            del connections[connection]
            connections[connection] = None

    def leave(self, address: str, connection: Bounded) -> None:
        connections = self._connections.get(address, {})
        connections.pop(connection, None)
        if not connections:
            self._connections.pop(address, None)


class HeldBytes:
    """What is held in this process for slow clients. Beyond the bound, the address for which most is held loses the connection that
    has been slow for the longest time.
    """

    def __init__(self, bytes_max: int, lose: Callable[[Any], None]):
        self._bytes_max = bytes_max
        self._lose = lose
        self._bytes: dict[Bounded, int] = {}
        """By connection, those that have been slow for the longest time first."""
        self._of_address: Counter[str] = Counter()
        self._total = 0

    def hold(self, connection: Bounded, size: int) -> None:
        """So much is held for this connection now."""
        before = self._bytes.get(connection, 0)
        self._bytes[connection] = size
        self._of_address[connection.address] += size - before
        self._total += size - before
        while self._total > self._bytes_max:
            most, _ = self._of_address.most_common(1)[0]
            longest = next(one for one in self._bytes if one.address == most)
            self.release(longest)
            self._lose(longest)

    def release(self, connection: Bounded) -> None:
        """Nothing is held for this connection."""
        size = self._bytes.pop(connection, 0)
        self._total -= size
        self._of_address[connection.address] -= size
        if self._of_address[connection.address] <= 0:
            del self._of_address[connection.address]


class BodyTurns:
    """Lets the application have its turn: thousands of bodies that arrive at once would all be held before it can refuse any."""

    def __init__(self) -> None:
        self._bytes = 0
        self._waiting: list[Connection] = []

    def count(self, size: int, connection: Connection) -> None:
        """Count what has arrived of a body. Beyond the bound no connection is read until the next turn."""
        if not self._bytes:
            connection.loop.call_soon(self._end)
        self._bytes += size
        if self._bytes > BODY_BYTES_PER_TURN and not self._waiting:
            for one in connection.connections:
                if not one.flow.read_paused:
                    one.flow.pause_reading()
                    self._waiting.append(one)

    def _end(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for one in waiting:
            # What waits in the connection still waits for the application.
            if not (one.transport.is_closing() or one.waits or one.has_unread_body):
                one.flow.resume_reading()
