"""To whom a mail goes, and what a mail says before it is laid out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MailAnswers = Mapping[tuple[str, str], str | None]
"""By person and address: how a mail server refused mail for good, or None where it took it."""
Language = Literal["en", "fr"]
LANGUAGE_DESCRIPTION = "Language of mails to this person; null: the installation's."


@dataclass(frozen=True, slots=True)
class Recipient:
    """The person whom a mail is for: `users.recipient(row)`, `merchants.recipient(row)`."""

    id: str
    tenant_id: str
    email: str
    name: str
    language: str | None
    """None: the language of the installation."""
    livemode: bool


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Details:
    """Lines of a label and a value."""

    lines: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail says, in the recipient's language; both of its bodies are made from it."""

    subject: str
    heading: str
    parts: list[Paragraph | Button | Details]
    note: str = ""
    """Small print: what to do if it was somebody else."""
    preview: str = field(default="")
    """What lists of mails show beside the subject; by default the first paragraph."""
