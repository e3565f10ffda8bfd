"""Idle connections, by origin."""

import time
from collections.abc import Collection

from webhooks.http_client.connection import Connection
from webhooks.http_client.deadlines import Deadlines

# Shorter than the keep-alive of common servers, so that no connection is used that the receiver is about to close.
IDLE_SECONDS_MAX = 4.0
IDLE_MAX = 2048

Origin = tuple[str, str, int]
"""Scheme, host, port: connections of different hosts are never shared, even if they have the same address."""


class ConnectionPool:
    """At most `IDLE_MAX` idle connections, each for `IDLE_SECONDS_MAX`. For use inside one event loop."""

    def __init__(self) -> None:
        self._by_origin: dict[Origin, list[Connection]] = {}
        self._origins: dict[Connection, Origin] = {}
        self._waiting = Deadlines[Connection](IDLE_SECONDS_MAX, self._drop)

    def take(self, origin: Origin, addresses: Collection[str]) -> Connection | None:
        """Take the connection that was used last and leads to one of `addresses`; connections to other addresses are closed."""
        waiting = self._by_origin.get(origin)
        while waiting:
            connection = waiting.pop()
            del self._origins[connection]
            self._waiting.stop(connection)
            if not waiting:
                del self._by_origin[origin]
            if connection.address in addresses:
                return connection
            # The name has another address now.
            connection.close()
        return None

    def put(self, origin: Origin, connection: Connection) -> None:
        """Keep a reusable connection."""
        if len(self._waiting) >= IDLE_MAX:
            self._drop(self._waiting.oldest())
        self._by_origin.setdefault(origin, []).append(connection)
        self._origins[connection] = origin
        self._waiting.start(connection, time.monotonic())

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has ended, if it is here."""
        origin = self._origins.pop(connection, None)
        if origin is None:
            return
        self._waiting.stop(connection)
        waiting = self._by_origin[origin]
        waiting.remove(connection)
        if not waiting:
            del self._by_origin[origin]

    def close(self) -> None:
        """Close all idle connections."""
        for connection in list(self._origins):
            self._drop(connection)
        self._waiting.clear()

    def _drop(self, connection: Connection) -> None:
        self.forget(connection)
        connection.close()
