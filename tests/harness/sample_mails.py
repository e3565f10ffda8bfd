"""One mail of each kind, and how the recipient sees it: for tests, and for looking at them.

`python -m tests.harness.sample_mails FOLDER` writes each in each language as an HTML page.
"""

import email
import email.policy
import sys
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

from identity import mail
from identity.mail.rendering import Layouts, Words

NOW = datetime(2026, 11, 30, 19, 2, 11, tzinfo=UTC)
CONSOLE = "https://console.waybill.test"
TENANT = "Livraisons Laurier"
TOKEN = "wbi_Qm9uam91ci1MYXVyaWVyLTIwMjYtcGxlYXNlLWtlZXA"
ACCOUNT = "acct_01h455vb4pex5vsknk084sn02q"
HOOK = "https://erp.boulangerie-ada.example.com/hooks/waybill/montreal/orders"
ENDPOINT = "ep_01h455vb4pex5vsknk084sn02q"

SAMPLES: dict[str, mail.Mail] = {
    "invitation-owner": mail.Invitation(role="owner", token=TOKEN, expires_at=NOW + timedelta(days=7)),
    "invitation-staff": mail.Invitation(role="staff", token=TOKEN, expires_at=NOW + timedelta(days=7)),
    "invitation-merchant": mail.Invitation(role="merchant", token=TOKEN, expires_at=NOW + timedelta(days=7)),
    "password-reset": mail.PasswordReset(token=TOKEN, expires_at=NOW + timedelta(minutes=20)),
    "password-changed": mail.PasswordChanged(changed_at=NOW, address="203.0.113.7"),
    "email-changed": mail.EmailChanged(
        former="ada@example.com", present="ada.lovelace@example.com", changed_at=NOW, address="203.0.113.7"
    ),
    "email-verification": mail.EmailVerification(token=TOKEN, expires_at=NOW + timedelta(days=1)),
    "email-change-requested": mail.EmailChangeRequested(
        present="ada@example.com", future="ada.lovelace@example.com", requested_at=NOW
    ),
    "second-factor-reset": mail.SecondFactorReset(reset_at=NOW),
    "key-revealed": mail.KeyRevealed(account_id=ACCOUNT, revealed_at=NOW, address="2001:db8::7"),
    "key-rotated": mail.KeyRotated(
        account_id=ACCOUNT, rotated_at=NOW, former_valid_until=NOW + timedelta(days=1), address="203.0.113.7"
    ),
    "key-rotated-at-once": mail.KeyRotated(account_id=ACCOUNT, rotated_at=NOW),
    "new-sign-in": mail.NewSignIn(signed_in_at=NOW, address="203.0.113.7", device="Firefox 133, Ubuntu"),
    "ownership-moved": mail.OwnershipMoved(former_owner="Ada Lovelace", new_owner="Grace Hopper", moved_at=NOW),
    "trial-ending-3": mail.TrialEnding(ends_at=NOW + timedelta(days=3), days_left=3),
    "trial-ending-1": mail.TrialEnding(ends_at=NOW + timedelta(days=1), days_left=1),
    "trial-ended": mail.TrialEnded(ended_at=NOW),
    "payment-failed": mail.PaymentFailed(
        amount_minor=14_900, currency="CAD", invoice_number="LL-000042", next_attempt_at=NOW + timedelta(days=2)
    ),
    "invoice": mail.InvoiceReady(
        invoice_number="LL-000042", amount_minor=14_900, currency="CAD", due_at=NOW + timedelta(days=14)
    ),
    "endpoint-warned": mail.EndpointWarned(endpoint_id=ENDPOINT, url=HOOK),
    "endpoint-disabled": mail.EndpointDisabled(endpoint_id=ENDPOINT, url=HOOK, reason="failing"),
}


def recipient(**more: object) -> mail.Recipient:
    """A person to whom mails can go."""
    values: dict[str, object] = {
        "id": "usr_01h455vb4pex5vsknk084sn02q",
        "tenant_id": "ten_01h455vb4pex5vsknk084sn02q",
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "language": None,
        "livemode": True,
    }
    return mail.Recipient(**{**values, **more})  # type: ignore[arg-type]


def lay_out(
    said: mail.Mail, language: str = "en", *, tenant: str = TENANT, to: mail.Recipient | None = None
) -> EmailMessage:
    """The message, read back from what goes to the mail server."""
    words = Words(language, "America/Toronto", CONSOLE)
    layouts = Layouts(sender=Address("Waybill", addr_spec="no-reply@waybill.test"))
    _, message = layouts.lay_out(
        "3f0c9a52", to or recipient(), said.content(words, tenant), words, tenant=tenant, now=NOW
    )
    return email.message_from_bytes(message, policy=email.policy.default)


def body(message: EmailMessage, kind: str) -> str:
    """The text (`plain`) or the HTML (`html`) of a message."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, said in SAMPLES.items():
        for language in ("en", "fr"):
            (folder / f"{name}.{language}.html").write_text(body(lay_out(said, language), "html"))
            (folder / f"{name}.{language}.txt").write_text(body(lay_out(said, language), "plain"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
