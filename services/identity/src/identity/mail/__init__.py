"""Mail to people: one task for each mail, written in the transaction of what it tells of. No other service knows an address.

Callers write one line, wherever they hold a session:

    await mail.send(session, users.recipient(row), mail.PasswordReset(token=token, expires_at=expires_at))

Invariants: a mail has one recipient. Its Message-Id never changes, so a repeat after a crash can be recognised. What it says is encrypted
until it is sent, and then gone.
"""

from identity.mail.business_kinds import (
    EndpointDisabled,
    EndpointWarned,
    InvoiceReady,
    PaymentFailed,
    TrialEnded,
    TrialEnding,
)
from identity.mail.connections import MailServer
from identity.mail.kinds import (
    EmailChanged,
    EmailChangeRequested,
    EmailVerification,
    Invitation,
    KeyRevealed,
    KeyRotated,
    Mail,
    NewSignIn,
    OwnershipMoved,
    PasswordChanged,
    PasswordReset,
    SecondFactorReset,
)
from identity.mail.operations import Mailer, attach, cancel, is_on, send
from identity.mail.rules import NOTICE, PROMPT
from identity.mail.schemas import LANGUAGE_DESCRIPTION, Language, MailAnswers, Recipient

__all__ = [
    "LANGUAGE_DESCRIPTION",
    "NOTICE",
    "PROMPT",
    "EmailChangeRequested",
    "EmailChanged",
    "EmailVerification",
    "EndpointDisabled",
    "EndpointWarned",
    "Invitation",
    "InvoiceReady",
    "KeyRevealed",
    "KeyRotated",
    "Language",
    "Mail",
    "MailAnswers",
    "MailServer",
    "Mailer",
    "NewSignIn",
    "OwnershipMoved",
    "PasswordChanged",
    "PasswordReset",
    "PaymentFailed",
    "Recipient",
    "SecondFactorReset",
    "TrialEnded",
    "TrialEnding",
    "attach",
    "cancel",
    "is_on",
    "send",
]
