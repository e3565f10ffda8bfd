"""uvicorn's protocol with a deadline for each write: a client that does not read what it asked for loses its connection.

What it has asked for is then cancelled, so that nobody can hold memory, a slot or a database connection by not reading.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def protocol_with_deadline(write_seconds: float) -> type[HttpToolsProtocol]:
    """The protocol of connections whose clients have these seconds to read what waits for them."""

    class Protocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._deadline = self.loop.call_later(write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._clear_deadline()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._clear_deadline()
            super().connection_lost(exc)

        def _clear_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
