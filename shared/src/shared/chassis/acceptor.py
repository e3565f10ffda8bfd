"""Accepts connections. One on which nothing has arrived, or whose turn has not come, is a socket and nothing else, and is not read.

The event loop's own server makes all objects of a connection at once, and reads it. A crowd that comes at one instant would be read into
memory before anything could be refused.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import structlog

from shared.chassis.connection_bounds import Addresses
from shared.chassis.turns import Lane

log = structlog.get_logger()

ACCEPTED_PER_TURN = 16
PAUSE_SECONDS = 1.0
"""After a failure to accept: mostly there are too many open files."""


class ParkedConnection:
    """A connection that is accepted, and not opened yet."""

    def __init__(self, accepted: socket.socket, address: str, acceptor: "Acceptor"):
        self.address = address
        self.since = acceptor.loop.time()
        self.is_serving = False
        """Whether something has arrived: then it waits for us, no longer for its client."""
        self._socket = accepted
        self._acceptor = acceptor
        acceptor.loop.add_reader(accepted, self._arrived)

    def abort(self) -> None:
        if self._acceptor.leave(self):
            if not self.is_serving:
                self._acceptor.loop.remove_reader(self._socket)
            self._socket.close()

    def _arrived(self) -> None:
        self._acceptor.loop.remove_reader(self._socket)
        self.is_serving = True
        self._acceptor.move_to_end(self)
        self._acceptor.lane.take(self.address, self._open)

    def _open(self) -> None:
        if self._acceptor.leave(self):
            self._acceptor.open(self._socket)


class Acceptor:
    """Accepts at one listening socket until `close()`; has what uvicorn asks of a server."""

    def __init__(
        self,
        listener: socket.socket,
        protocol_factory: Callable[[], asyncio.Protocol],
        *,
        addresses: Addresses,
        lane: Lane,
        refusal: Callable[[], bytes],
    ):
        self.loop = asyncio.get_running_loop()
        self.lane = lane
        self._listener = listener
        self._protocol_factory = protocol_factory
        self._addresses = addresses
        self._refusal = refusal
        """What an address is answered that has more than its share."""
        self._parked: dict[ParkedConnection, None] = {}
        self._opening: set[asyncio.Task[object]] = set()
        self._resume()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return (self._listener,)

    def close(self) -> None:
        self.loop.remove_reader(self._listener)
        self._listener.close()
        for parked in list(self._parked):
            parked.abort()

    async def wait_closed(self) -> None:
        """Nothing is left after `close()`."""

    def silent_since(self, instant: float) -> Iterator[ParkedConnection]:
        """The connections on which nothing has arrived since an instant of the loop's clock, to be closed one by one."""
        while self._parked and not (first := next(iter(self._parked))).is_serving and first.since < instant:
            yield first

    def open(self, accepted: socket.socket) -> None:
        """Have this connection opened and read."""
        task = self.loop.create_task(self.loop.connect_accepted_socket(self._protocol_factory, accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def move_to_end(self, parked: ParkedConnection) -> None:
        """Something has arrived on this connection: others have been silent for longer."""
        self._parked.pop(parked)
        self._parked[parked] = None

    def leave(self, parked: ParkedConnection) -> bool:
        """This connection is parked no longer. Whether it was."""
        self._addresses.leave(parked.address, parked)
        was_parked = parked in self._parked
        self._parked.pop(parked, None)
        return was_parked

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self.loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                accepted, peer = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("accept_failed", error=repr(error))
                self.loop.remove_reader(self._listener)
                self.loop.call_later(PAUSE_SECONDS, self._resume)
                return
            accepted.setblocking(False)
            self._park(accepted, peer[0])

    def _park(self, accepted: socket.socket, address: str) -> None:
        parked = ParkedConnection(accepted, address, self)
        self._parked[parked] = None
        if not self._addresses.enter(address, parked):
            with suppress(OSError):
                accepted.send(self._refusal())
            parked.abort()


async def listeners(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets at each address of this host. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made = []
    for family, _, _, _, address in found:
        listener = socket.create_server(address[:2], family=family, backlog=backlog)
        listener.setblocking(False)
        made.append(listener)
    return made
