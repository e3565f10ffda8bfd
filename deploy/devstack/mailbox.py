"""Where the mail of a private installation ends: a small real SMTP server that keeps what it takes, and pages to read it.

It takes every mail and sends none on. It keeps mails in memory up to a bound; the oldest go first. A mail's HTML is shown in a sandbox, as
mail programs do: without scripts, and without anything from elsewhere.
"""

import argparse
import asyncio
import re
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from itertools import count
from pathlib import Path

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment, FileSystemLoader, StrictUndefined

MAILS_KEPT_MAX = 2_000
MAIL_BYTES_MAX = 1024 * 1024
KEPT_BYTES_MAX = 64 * 1024 * 1024
LIST_MAX = 200
ADDRESS_LENGTH_MAX = 320
REFRESH_SECONDS = 5
LINK = re.compile(r"https?://\S+")
# The mail may style itself and open links in a new tab: nothing else.
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
)
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'self'"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as it came. It is read when somebody looks at it: taking mail costs next to nothing."""

    id: str
    received_at: datetime
    to: str
    content: bytes = field(repr=False)

    @cached_property
    def message(self) -> EmailMessage:
        """Its headers and parts."""
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def text(self) -> str:
        return self._body("plain")

    @property
    def html(self) -> str:
        return self._body("html")

    def header(self, name: str) -> str:
        """A header; empty without one."""
        return str(self.message[name] or "")

    def view(self) -> dict[str, object]:
        """The mail as JSON shows it."""
        return {
            "id": self.id,
            "received_at": self.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "to": self.to,
            "from": self.header("From"),
            "subject": self.header("Subject"),
            "message_id": self.header("Message-ID"),
            "language": self.header("Content-Language"),
            "text": self.text,
            "html": self.html,
            "links": LINK.findall(self.text),
        }

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()) if part is not None else ""


@dataclass
class Mails:
    """Everything that the mailbox remembers, oldest out first; as a handler of aiosmtpd it takes all mails."""

    kept: deque[Mail] = field(default_factory=deque)
    kept_bytes: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail, once for each recipient."""
        content = envelope.content
        assert isinstance(content, bytes)
        for recipient in envelope.rcpt_tos:
            self.keep(Mail(id=str(next(self._numbers)), received_at=datetime.now(UTC), to=recipient, content=content))
        return "250 2.0.0 kept"

    def keep(self, mail: Mail) -> None:
        """Add one mail, and forget the oldest ones beyond the bounds."""
        self.kept.append(mail)
        self.kept_bytes += len(mail.content)
        while len(self.kept) > MAILS_KEPT_MAX or self.kept_bytes > KEPT_BYTES_MAX:
            self.kept_bytes -= len(self.kept.popleft().content)

    def clear(self) -> None:
        """Forget every mail."""
        self.kept.clear()
        self.kept_bytes = 0

    def to(self, address: str | None) -> list[Mail]:
        """The mails for an address, or all; newest first."""
        wanted = address.casefold() if address else None
        return [mail for mail in reversed(self.kept) if wanted in (None, mail.to.casefold())]


MAILS = web.AppKey("mails", Mails)
PAGES = web.AppKey("pages", Environment)


def create_mailbox(mails: Mails) -> web.Application:
    """The pages of a mailbox, as an application."""
    application = web.Application()
    application[MAILS] = mails
    application[PAGES] = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("mailbox_pages")), undefined=StrictUndefined, autoescape=True
    )
    application.add_routes(
        [
            web.get("/", to_list),
            web.get("/mail", show_list),
            web.get("/mail/messages", list_messages),
            web.delete("/mail/messages", clear_messages),
            web.get("/mail/{id:[0-9]+}", show_mail),
            web.get("/mail/{id:[0-9]+}/html", show_html),
        ]
    )
    return application


def create_smtp_server(mails: Mails) -> SMTP:
    """The protocol of one connection."""
    return SMTP(mails, hostname="localhost", data_size_limit=MAIL_BYTES_MAX, enable_SMTPUTF8=True)


async def to_list(request: web.Request) -> web.Response:
    """Lead to the list."""
    raise web.HTTPFound("/mail")


async def show_list(request: web.Request) -> web.Response:
    """The page with all mails, or those of one address (`to`), newest first."""
    address = _address(request)
    found = request.app[MAILS].to(address)
    # While nobody searches, the list looks for new mails by itself.
    refresh = {"Refresh": str(REFRESH_SECONDS)} if address is None else {}
    return _page(request, "list.html", {"to": address or "", "mails": found[:LIST_MAX], "count": len(found)}, refresh)


async def show_mail(request: web.Request) -> web.Response:
    """The page of one mail."""
    return _page(request, "mail.html", {"mail": _mail(request)}, {})


async def show_html(request: web.Request) -> web.Response:
    """The HTML of one mail, for the sandbox of its page."""
    headers = {"Content-Security-Policy": MAIL_POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(text=_mail(request).html, content_type="text/html", headers=headers)


async def list_messages(request: web.Request) -> web.Response:
    """The newest mails as JSON, newest first: of one address (`to`) or all, `limit` at most."""
    told = request.query.get("limit", str(LIST_MAX))
    if not told.isdecimal() or not 1 <= int(told) <= LIST_MAX:
        raise web.HTTPUnprocessableEntity(text=f"limit must be a number from 1 to {LIST_MAX}\n")
    limit = int(told)
    found = request.app[MAILS].to(_address(request))
    return web.json_response({"object": "list", "count": len(found), "data": [mail.view() for mail in found[:limit]]})


async def clear_messages(request: web.Request) -> web.Response:
    """Forget every mail."""
    request.app[MAILS].clear()
    return web.Response(status=204)


def _mail(request: web.Request) -> Mail:
    for mail in request.app[MAILS].kept:
        if mail.id == request.match_info["id"]:
            return mail
    raise web.HTTPNotFound(text="this mail is not kept (any more)\n")


def _address(request: web.Request) -> str | None:
    address = request.query.get("to", "").strip()
    if len(address) > ADDRESS_LENGTH_MAX:
        raise web.HTTPUnprocessableEntity(text=f"an address has at most {ADDRESS_LENGTH_MAX} characters\n")
    return address or None


def _page(request: web.Request, name: str, values: dict[str, object], headers: dict[str, str]) -> web.Response:
    text = request.app[PAGES].get_template(name).render(values)
    more = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers={**more, **headers})


async def serve(host: str, port: int, smtp_port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    mails = Mails()
    smtp = await loop.create_server(lambda: create_smtp_server(mails), host, smtp_port)
    runner = web.AppRunner(create_mailbox(mails), shutdown_timeout=2.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        await stopped.wait()
    finally:
        smtp.close()
        await runner.cleanup()


def main() -> None:
    """Take mail and show it."""
    parser = argparse.ArgumentParser(description="Take, keep and show mails; send none on.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="port of the pages")
    parser.add_argument("--smtp-port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port, arguments.smtp_port))


if __name__ == "__main__":
    main()
