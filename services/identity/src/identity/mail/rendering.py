"""How mails are put into words and laid out: language, dates and amounts of the recipient; text and HTML of one content.

The HTML layout is compiled from `templates/layout.mjml` (`make contracts`).
"""

import io
from binascii import b2a_qp
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime, formataddr
from functools import cache, partial
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel import Locale, dates
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, get_currency_precision
from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, PackageLoader, StrictUndefined

from identity.mail.schemas import Content, Paragraph, Recipient
from shared.fields.text import without_format_characters

SOURCE_LANGUAGE = "en"
HEADER_LINE_LENGTH_MAX = 76
MAILBOX_LENGTH_MAX = 60
"""Longer names are encoded, so that they can be folded: between quotes that is a risk."""
NO_BREAK_SPACE = "\u00a0"
LOCALES: Mapping[str, str] = {"en": "en_CA", "fr": "fr_CA"}
"""How dates and amounts are written in each language of mails."""


class Words:
    """`words("Hello {name}", name=…)` is the text in the recipient's language, with its values."""

    def __init__(self, language: str, time_zone: str, console_base_url: str):
        self.language = language
        self._translations = _translations(language)
        self._locale = Locale.parse(LOCALES[language])
        self._time_zone = ZoneInfo(time_zone)
        self._console_base_url = console_base_url.rstrip("/")

    def __call__(self, message: str, **values: object) -> str:
        return self._translations.gettext(message).format(**values)

    def count(self, one: str, many: str, count: int, **values: object) -> str:
        """The text for a number of things."""
        return self._translations.ngettext(one, many, count).format(count=count, **values)

    def instant(self, at: datetime) -> str:
        """Day and time by the tenant's clock, with the name of its zone."""
        time = dates.format_time(at, "short", tzinfo=self._time_zone, locale=self._locale)
        zone = dates.format_datetime(at, "zzz", tzinfo=self._time_zone, locale=self._locale)
        # Unbroken: an instant that is cut by the end of a line is hard to read.
        return f"{self.day(at)}, {time} {zone}".replace(" ", NO_BREAK_SPACE)

    def day(self, at: datetime) -> str:
        """A day of the tenant's calendar."""
        day = at.astimezone(self._time_zone)
        text = dates.format_date(day, "long", locale=self._locale)
        # The one ordinal of French dates, which CLDR does not have.
        return text.replace("1 ", "1er ", 1) if self.language == "fr" and day.day == 1 else text

    def amount(self, minor: int, currency: str) -> str:
        """An amount of money, from integer minor units."""
        return format_currency(Decimal(minor).scaleb(-get_currency_precision(currency)), currency, locale=self._locale)

    def link(self, path: str, *, token: str | None = None) -> str:
        """A page of the console. A token is in the fragment: browsers send it to no server, and no proxy logs it."""
        return f"{self._console_base_url}{path}" + (f"#token={token}" if token else "")


@cache
def _translations(language: str) -> NullTranslations:
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    compiled = io.BytesIO()
    with (files(__package__) / "locales" / f"{language}.po").open("rb") as catalog:
        write_mo(compiled, read_po(catalog, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


class AddressUnusable(Exception):
    """Nothing can be sent to this address."""


class Layouts:
    """Makes messages of contents."""

    def __init__(self, *, sender: Address):
        self.sender = sender
        # Two environments, because only HTML is escaped.
        load = partial(Environment, loader=PackageLoader("identity.mail"), undefined=StrictUndefined, auto_reload=False)
        self._text = load(trim_blocks=True, lstrip_blocks=True).get_template("layout.txt")
        self._html = load(autoescape=True).get_template("layout.html")

    def lay_out(
        self, mail_id: str, to: Recipient, content: Content, words: Words, *, tenant: str, now: datetime
    ) -> tuple[str, bytes]:
        """The address to hand the message over for, and the message. Raises `AddressUnusable`."""
        address = _one_address(to.email)
        values = {
            "content": content,
            "tenant": tenant,
            "language": words.language,
            "words": words,
            "preview": content.preview
            or next((part.text for part in content.parts if isinstance(part, Paragraph)), ""),
            "test": not to.livemode,
        }
        subject = words("[Test] {subject}", subject=content.subject) if values["test"] else content.subject
        # Quoted-printable has no line that begins like this.
        boundary = f"=_{mail_id}"
        headers = {
            "From": _mailbox("From", self.sender.display_name, self.sender.addr_spec),
            "To": _mailbox("To", to.name, address),
            "Subject": _words("Subject", subject),
            "Message-ID": f"<{mail_id}@{self.sender.domain}>",
            "Date": format_datetime(now.astimezone(UTC)),
            "Content-Language": words.language,
            # Nobody is out of office for these.
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            "MIME-Version": "1.0",
            "Content-Type": f'multipart/alternative; boundary="{boundary}"',
        }
        return address, _put_together(
            headers,
            boundary,
            _part("plain", self._text.render(values)),
            _part("html", self._html.render(values)),
        )


def _words(name: str, text: str) -> str:
    """Text as the value of a header: one line before it is folded, whatever it was, so that no value begins another header."""
    line = _one_line(text)
    return (
        _encoded(name, line) if not line.isascii() else Header(line, "us-ascii", HEADER_LINE_LENGTH_MAX, name).encode()
    )


def _mailbox(name: str, display_name: str, address: str) -> str:
    """A person and an address as the value of a header."""
    person = _one_line(display_name)
    if not address.isascii():
        # For servers that take SMTPUTF8: its bytes as they are.
        return f"{_encoded(name, person)} <{address}>"
    if person.isascii() and len(person) + len(address) <= MAILBOX_LENGTH_MAX:
        return formataddr((person, address))
    return f"{_encoded(name, person)}\n <{address}>"


def _encoded(name: str, line: str) -> str:
    return Header(line, "utf-8", HEADER_LINE_LENGTH_MAX, name).encode()


def _part(kind: str, text: str) -> str:
    """A part of a message with its headers. Coded like this, no line of it is long, and none is anything but ASCII."""
    coded = b2a_qp(text.replace("\r\n", "\n").encode(), istext=True).decode()
    return f'Content-Type: text/{kind}; charset="utf-8"\nContent-Transfer-Encoding: quoted-printable\n\n{coded}'


def _put_together(headers: Mapping[str, str], boundary: str, *parts: str) -> bytes:
    """The message, of header values that are folded already and parts that are coded.

    The classes of the standard library would fold and split all of it once more, in a third of the time that a mail takes.
    """
    head = "".join(f"{name}: {value}\n" for name, value in headers.items())
    body = "".join(f"\n--{boundary}\n{part}" for part in parts)
    return f"{head}{body}\n--{boundary}--\n".replace("\n", "\r\n").encode()


def _one_address(email: str) -> str:
    """One address as mail servers take it: the domain in ASCII, and the rest, too, where that is possible."""
    try:
        checked = validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise AddressUnusable(str(error)) from error
    return checked.ascii_email or f"{checked.local_part}@{checked.ascii_domain}"


def _one_line(text: str) -> str:
    return " ".join(without_format_characters(text).split())
