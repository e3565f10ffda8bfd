"""Connections to the mail server: few, kept open, each used for many mails."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from identity.mail.rules import is_permanent
from shared.errors import Unavailable

SCHEMES = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
"""How a mail server is reached, and the port of each."""
COMMAND_SECONDS_MAX = 20.0
MAILS_PER_CONNECTION_MAX = 200
IDLE_SECONDS_MAX = 5.0
"""After it an idle connection is closed: servers do so soon after."""
REPLY_LENGTH_MAX = 300


class MailRefused(Exception):
    """The mail server will never take this mail; the text is its answer."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed over, from a URL such as `smtp+starttls://user:password@mail.example.com:587`."""

    hostname: str
    port: int
    scheme: str
    username: str | None
    password: str | None

    @classmethod
    def from_url(cls, url: str) -> "MailServer":
        """Raises `ValueError`, without the password in it."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"expected one of {', '.join(SCHEMES)}, as in smtps://user:password@mail.example.com")
        username, password = parts.username, parts.password
        if (username is None) != (password is None):
            raise ValueError("expected both a user and a password, or none")
        return cls(
            parts.hostname,
            parts.port or SCHEMES[parts.scheme],
            parts.scheme,
            unquote(username) if username else None,
            unquote(password) if password else None,
        )


@dataclass(slots=True)
class _Connection:
    smtp: SMTP
    mails: int = 0
    idle_since: float = 0.0


class MailConnections:
    """Hands mails over, over at most `connections_max` connections. A mail that fails takes its connection with it."""

    def __init__(self, server: MailServer, *, connections_max: int):
        self._server = server
        self._free = asyncio.Semaphore(connections_max)
        self._idle: deque[_Connection] = deque()

    async def send(self, *, sender: str, recipient: str, message: bytes) -> None:
        """Hand one mail over to the server.

        Raises `MailRefused` when the server refuses recipient or message for good, `Unavailable` when it may take the mail later.
        """
        async with self._free:
            try:
                connection = await self._connect()
            except (SMTPException, OSError) as error:
                raise _not_now(error, recipient) from error
            reusable = False
            try:
                options = [] if message.isascii() and recipient.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
                await connection.smtp.sendmail(sender, [recipient], message, mail_options=options)
                reusable = True
            except SMTPRecipientsRefused as error:
                reusable = True
                raise _refusal(error.recipients[0], recipient) from error
            except SMTPDataError as error:
                reusable = True
                raise _refusal(error, recipient) from error
            except SMTPNotSupported as error:
                # The address has letters that this server cannot take.
                reusable = True
                raise MailRefused(_reply(error.message, recipient)) from error
            except (SMTPException, OSError) as error:
                raise _not_now(error, recipient) from error
            finally:
                # Also after a cancellation in the middle: what the server still says would be taken for the next mail's answer.
                self._give_back(connection, reusable=reusable)

    async def close_idle(self, *, older_than_seconds: float = IDLE_SECONDS_MAX) -> None:
        """Close the connections that nobody has used for so long."""
        while self._idle and time.monotonic() - self._idle[0].idle_since >= older_than_seconds:
            connection = self._idle.popleft()
            with suppress(SMTPException, OSError):
                await connection.smtp.quit()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.smtp.is_connected:
                return connection
        server = self._server
        smtp = SMTP(
            hostname=server.hostname,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.scheme == "smtps",
            start_tls=server.scheme == "smtp+starttls",
            timeout=COMMAND_SECONDS_MAX,
        )
        await smtp.connect()
        return _Connection(smtp)

    def _give_back(self, connection: _Connection, *, reusable: bool) -> None:
        connection.mails += 1
        connection.idle_since = time.monotonic()
        if reusable and connection.smtp.is_connected and connection.mails < MAILS_PER_CONNECTION_MAX:
            self._idle.append(connection)
        else:
            connection.smtp.close()


def _refusal(error: SMTPResponseException | SMTPRecipientRefused, recipient: str) -> Exception:
    reply = _reply(f"{error.code} {error.message}", recipient)
    return MailRefused(reply) if is_permanent(error.code) else Unavailable(reply)


def _not_now(error: Exception, recipient: str) -> Unavailable:
    """Also for 5xx before the recipient was named: they are about this installation, and somebody will mend it."""
    return Unavailable(_reply(f"{type(error).__name__} {error}", recipient))


def _reply(text: str, recipient: str) -> str:
    """What the server said, without the address: it goes to the log."""
    return " ".join(text.replace(recipient, "<recipient>").split())[:REPLY_LENGTH_MAX]
