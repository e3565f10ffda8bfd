"""A receiver for comparing clients, a process of its own: one answer for everything, as cheap as can be, with and without TLS."""

import asyncio
import ssl
from typing import cast

import httptools

from bench.children import Document, obey

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
LAST_ANSWER = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Answering(asyncio.Protocol):
    """The receiver: one answer for everything, as cheap as can be."""

    def __init__(self, answer: bytes, last: bool):
        self._answer = answer
        self._last = last
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)
        if self._last:
            self._transport.close()


_serving: list[asyncio.Server] = []
"""What must stay alive until the process ends."""


async def listen(command: Document) -> Document:
    """Four receivers: with and without TLS, with kept connections and without; their ports."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(command["certificate"])
    ports: Document = {}
    for tls in (False, True):
        for kept in (False, True):
            answer = ANSWER if kept else LAST_ANSWER
            server = await loop.create_server(
                lambda answer=answer, kept=kept: Answering(answer, not kept),
                "127.0.0.1",
                0,
                ssl=context if tls else None,
                backlog=4096,
            )
            _serving.append(server)
            ports[f"{tls} {kept}"] = server.sockets[0].getsockname()[1]
    return ports


if __name__ == "__main__":
    obey({"listen": listen})
