"""How mails are put into words and laid out: language, dates and amounts of the recipient; text and HTML of one content.

The HTML layout is compiled from `templates/layout.mjml` (`make contracts`).
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.header import Header
from email.headerregistry import Address, SingleAddressHeader, UniqueAddressHeader
from email.message import EmailMessage
from email.policy import EmailPolicy
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, get_currency_precision
from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, PackageLoader, StrictUndefined

from identity.mail.schemas import Content, Paragraph, Recipient
from shared.fields.text import without_format_characters

SOURCE_LANGUAGE = "en"
HEADER_LINE_LENGTH_MAX = 76
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
        time = format_time(at, "short", tzinfo=self._time_zone, locale=self._locale)
        zone = format_datetime(at, "zzz", tzinfo=self._time_zone, locale=self._locale)
        # Unbroken: an instant that is cut by the end of a line is hard to read.
        return f"{self.day(at)}, {time} {zone}".replace(" ", NO_BREAK_SPACE)

    def day(self, at: datetime) -> str:
        """A day of the tenant's calendar."""
        day = at.astimezone(self._time_zone)
        text = format_date(day, "long", locale=self._locale)
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


class _Policy(EmailPolicy):
    """SMTP's policy, with words outside ASCII encoded by `email.header`: where `EmailPolicy` folds them, blanks are lost or doubled."""

    def fold(self, name: str, value: str) -> str:
        return self._encoded(name, value) or super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        encoded = self._encoded(name, value)
        return encoded.encode() if encoded else super().fold_binary(name, value)

    def _encoded(self, name: str, value: str) -> str | None:
        if value.isascii() and len(name) + len(": ") + len(value) <= HEADER_LINE_LENGTH_MAX:
            # The line as it is. It has no end of a line inside: this policy has refused that.
            return f"{name}: {value}{self.linesep}"
        if self.utf8 or value.isascii():
            return None
        header = Header(header_name=name, maxlinelen=HEADER_LINE_LENGTH_MAX)
        if isinstance(value, SingleAddressHeader | UniqueAddressHeader):
            (address,) = value.addresses
            header.append(address.display_name, "utf-8")
            header.append(f"<{address.addr_spec}>", "us-ascii")
        else:
            header.append(value, "utf-8")
        return f"{name}: {header.encode(linesep=self.linesep)}{self.linesep}"


_ASCII_ONLY = _Policy(linesep="\r\n")
_ANY_ADDRESS = _ASCII_ONLY.clone(utf8=True)


class AddressUnusable(Exception):
    """Nothing can be sent to this address."""


class Layouts:
    """Makes messages of contents."""

    def __init__(self, *, sender: Address):
        self.sender = sender
        # Two environments, because only HTML is escaped.
        loader = PackageLoader("identity.mail")
        self._text = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
        self._html = Environment(loader=loader, undefined=StrictUndefined, autoescape=True)

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
        # What is no header's syntax is refused by the policy: no value can begin another header.
        message = EmailMessage(policy=_ASCII_ONLY if address.isascii() else _ANY_ADDRESS)
        message["From"] = self.sender
        message["To"] = Address(_one_line(to.name), *address.rsplit("@", 1))
        message["Subject"] = _one_line(
            words("[Test] {subject}", subject=content.subject) if values["test"] else content.subject
        )
        message["Message-ID"] = f"<{mail_id}@{self.sender.domain}>"
        message["Date"] = now.astimezone(UTC)
        # Nobody is out of office for these.
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(self._text.get_template("layout.txt").render(values), cte="quoted-printable")
        message.add_alternative(self._html.get_template("layout.html").render(values), subtype="html", cte="base64")
        message["Content-Language"] = words.language
        return address, message.as_bytes()


def _one_address(email: str) -> str:
    """One address as mail servers take it: the domain in ASCII, and the rest, too, where that is possible."""
    try:
        checked = validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise AddressUnusable(str(error)) from error
    return checked.ascii_email or f"{checked.local_part}@{checked.ascii_domain}"


def _one_line(text: str) -> str:
    return " ".join(without_format_characters(text).split())
