"""How mails are queued, and when one is of no use any more."""

from datetime import datetime

PROMPT = "mail"
"""Tasks of mails that somebody waits for."""
NOTICE = "mail_notice"
"""Tasks of all other mails: however many there are, they never take all connections."""


def task_kind(*, awaited: bool) -> str:
    """The kind of task that sends a mail."""
    return PROMPT if awaited else NOTICE


def task_key(kind: str, recipient_id: str, mail_id: str, *, replaces: bool) -> str:
    """A mail that replaces another has one key for each person; every other mail its own."""
    return f"{kind}:{recipient_id}" if replaces else mail_id


def is_outdated(expires_at: datetime | None, now: datetime) -> bool:
    """Whether the token in a mail is dead by now."""
    return expires_at is not None and expires_at <= now


def is_permanent(code: int) -> bool:
    """Whether a mail server's answer to a recipient or to a message will not change (RFC 5321, 4.2.1)."""
    return 500 <= code < 600
