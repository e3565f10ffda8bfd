"""A mail server for tests: a real SMTP server on loopback that keeps what it takes, and fails as it is told."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import cast
from urllib.parse import urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.harness.waiting import eventually

TAKEN = "250 taken"
HANG_UP = ""
"""The answer of a server that closes the connection instead."""

Script = Callable[[str], Awaitable[str] | str]
"""What the server answers to a recipient, or to a message for a recipient."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that arrived."""

    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        return cast(str, self.message.get_body(("plain",)).get_content())  # type: ignore[union-attr]

    @property
    def html(self) -> str:
        return cast(str, self.message.get_body(("html",)).get_content())  # type: ignore[union-attr]

    @property
    def link(self) -> str:
        """The link of its button."""
        return next(line for line in self.text.splitlines() if line.startswith("http"))

    @property
    def token(self) -> str:
        """The token in its link."""
        return urlsplit(self.link).fragment.removeprefix("token=")


class Mailbox:
    """Takes every mail unless `on_recipient` or `on_message` say otherwise; keeps what it was sent, in order of arrival."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[Mail] = []
        self.connections = 0
        self.on_recipient: Script = lambda _: TAKEN
        self.on_message: Script = lambda _: TAKEN
        """Asked after the message was read and kept: as when the answer is lost on its way."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def to(self, address: str) -> list[Mail]:
        """What arrived for an address."""
        return [mail for mail in self.mails if address in mail.recipients]

    def saying(self, address: str, words: str) -> list[Mail]:
        """What arrived for an address with these words in it."""
        return [mail for mail in self.to(address) if words in mail.text]

    async def wait_for(self, address: str, count: int = 1) -> list[Mail]:
        """The mails for an address, as soon as there are so many."""

        async def arrived() -> bool:
            return len(self.to(address)) >= count

        await eventually(arrived, what=f"{count} mails for {address}")
        return self.to(address)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(self.on_recipient, address, server)
        if answer == TAKEN:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        message = email.message_from_bytes(cast(bytes, envelope.content), policy=email.policy.default)
        self.mails.append(Mail(list(envelope.rcpt_tos), message))
        return await self._answer(self.on_message, envelope.rcpt_tos[0], server)

    async def _answer(self, script: Script, address: str, server: SMTP) -> str:
        answer = script(address)
        text = answer if isinstance(answer, str) else await answer
        if text == HANG_UP:
            cast(asyncio.Transport, server.transport).abort()
            await asyncio.Event().wait()
        return text

    def connect(self) -> SMTP:
        """The protocol of a new connection."""
        self.connections += 1
        return SMTP(self, hostname="localhost", enable_SMTPUTF8=True)


@asynccontextmanager
async def mailbox(port: int = 0) -> AsyncIterator[Mailbox]:
    """A running mail server."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(box.connect, "127.0.0.1", port)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
