"""Words in the reader's language, and how instants, numbers and money are written in it.

Texts are marked in the code and in templates (`_`, `ngettext`), kept in `locale/<language>/LC_MESSAGES/console.po`, and looked up in the
language of the request. English is the language of the sources.
"""

import gettext as gettext_module
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    format_compact_decimal,
    format_currency,
    format_decimal,
    format_percent,
    get_currency_precision,
)

SOURCE_LANGUAGE = "en"
LANGUAGES = {"en": "English", "fr": "Français"}
LOCALE_FOLDER = Path(__file__).parent / "locale"
DOMAIN = "console"
RECENT = timedelta(seconds=45)
ZONE_LOCALES = {"fr": "fr_CA"}
"""Where a language has its short names of time zones: French says HNE in Canada, and nothing in France."""
OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Words:
    """One language, in one time zone."""

    language: str
    zone: ZoneInfo

    @property
    def locale(self) -> Locale:
        return Locale.parse(self.language)

    def instant(self, value: str | datetime | None) -> str:
        """`1 Dec 2026, 14:02 EST`: with its zone, always."""
        if value is None:
            return ""
        return self._in_zone(value, "d MMM y, HH:mm")

    def exact(self, value: str | datetime | None) -> str:
        """The same to the second."""
        if value is None:
            return ""
        return self._in_zone(value, "d MMM y, HH:mm:ss")

    def _in_zone(self, value: str | datetime, pattern: str) -> str:
        at = _parsed(value)
        zone = format_datetime(at, "z", tzinfo=self.zone, locale=ZONE_LOCALES.get(self.language, self.language))
        if offset := OFFSET.fullmatch(zone):
            # Where a language has no short name for a zone.
            sign, hours, minutes = offset.groups()
            zone = f"UTC{sign.replace('-', MINUS)}{int(hours)}{'' if minutes == '00' else f':{minutes}'}"
        return f"{format_datetime(at, pattern, tzinfo=self.zone, locale=self.locale)} {zone}"

    def local(self, value: str | datetime | None) -> str:
        """`2026-12-01T14:02`, as fields for a local time have it."""
        return "" if value is None else _parsed(value).astimezone(self.zone).strftime("%Y-%m-%dT%H:%M")

    def instant_of(self, entered: str) -> str:
        """The instant of a local time that was entered; what is none stays as it is, for the service to say so."""
        try:
            at = datetime.fromisoformat(entered)
        except ValueError:
            return entered
        return (at if at.tzinfo else at.replace(tzinfo=self.zone)).astimezone(UTC).isoformat()

    def day(self, value: str | date | None) -> str:
        """`1 Dec 2026`; of an instant the day in the reader's zone."""
        if value is None:
            return ""
        if isinstance(value, str) and len(value) > len("2026-12-01"):
            value = _parsed(value)
        if isinstance(value, datetime):
            value = value.astimezone(self.zone).date()
        return format_date(
            date.fromisoformat(value) if isinstance(value, str) else value, "d MMM y", locale=self.locale
        )

    def ago(self, value: str | datetime | None) -> str:
        """`3 minutes ago`, `in 2 days`."""
        if value is None:
            return ""
        difference = _parsed(value) - datetime.now(UTC)
        if abs(difference) < RECENT:
            return gettext("just now")
        return format_timedelta(difference, add_direction=True, locale=self.locale)

    def number(self, value: float | None) -> str:
        return "" if value is None else format_decimal(value, locale=self.locale)

    def compact(self, value: float | None) -> str:
        """`4.1K`."""
        return "" if value is None else format_compact_decimal(value, locale=self.locale, fraction_digits=1)

    def percent(self, value: float | None, digits: int = 1) -> str:
        """A share from 0 to 1."""
        pattern = "#,##0." + "#" * digits + "%"
        return "" if value is None else format_percent(value, pattern, locale=self.locale)

    def money(self, minor_units: int | None, currency: str) -> str:
        """An amount in the currency's smallest unit."""
        if minor_units is None:
            return ""
        return format_currency(minor_units / 10 ** get_currency_precision(currency), currency, locale=self.locale)


_current: ContextVar[Words] = ContextVar("words")


def current() -> Words:
    """The words of this request."""
    return _current.get(words_of(SOURCE_LANGUAGE, None))


@contextmanager
def speaking(words: Words) -> Iterator[None]:
    """Let all texts within the block be in this language."""
    token = _current.set(words)
    try:
        yield
    finally:
        _current.reset(token)


def gettext(text: str) -> str:
    """The text in the language of this request."""
    return _translations(current().language).gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """The text for so many, in the language of this request."""
    return _translations(current().language).ngettext(one, many, count)


def mark(text: str) -> str:
    """A text that is translated where it is shown."""
    return text


@cache
def words_of(language: str, zone: str | None) -> Words:
    """The words of a language, with instants in a zone (UTC where it is not known)."""
    try:
        return Words(language, ZoneInfo(zone or "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        return Words(language, ZoneInfo("UTC"))


def choose_language(chosen: str | None, accepted: str) -> str:
    """The language that a person has chosen, else the first of `Accept-Language` that there is."""
    if chosen in LANGUAGES:
        return chosen
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            wanted.append((-float(weight or 1), name.strip().lower().split("-")[0]))
        except ValueError:
            continue
    return next((name for _, name in sorted(wanted, key=_weight) if name in LANGUAGES), SOURCE_LANGUAGE)


def _weight(wanted: tuple[float, str]) -> float:
    return wanted[0]


@cache
def _translations(language: str) -> gettext_module.NullTranslations:
    file = LOCALE_FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not file.exists():
        return gettext_module.NullTranslations()
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=language, domain=DOMAIN)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext_module.GNUTranslations(compiled)


def _parsed(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
