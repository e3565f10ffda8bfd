"""The kinds of mail about a tenant's business, from what other services publish."""

from datetime import datetime
from typing import ClassVar

from identity.mail.kinds import Mail
from identity.mail.rendering import Words
from identity.mail.schemas import Button, Content, Details, Paragraph

BILLING_PATH = "/billing"
ENDPOINTS_PATH = "/webhooks/endpoints"


class TrialEnding(Mail):
    """A trial ends in a few days."""

    kind: ClassVar[str] = "trial_will_end"

    ends_at: datetime
    days_left: int

    @property
    def useless_after(self) -> datetime | None:
        return self.ends_at

    def content(self, words: Words, tenant: str) -> Content:
        soon = words.count(
            "The trial of {tenant} ends in {count}\u00a0day",
            "The trial of {tenant} ends in {count}\u00a0days",
            self.days_left,
            tenant=tenant,
        )
        return Content(
            subject=soon,
            heading=soon,
            parts=[
                Paragraph(words("It ends on {until}.", until=words.instant(self.ends_at))),
                Paragraph(words("After that, the API refuses calls until a plan is chosen. All data stay.")),
                Button(words("Choose a plan"), words.link(BILLING_PATH)),
            ],
        )


class TrialEnded(Mail):
    """A trial has ended without a subscription."""

    kind: ClassVar[str] = "trial_ended"

    ended_at: datetime

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("The trial of {tenant} has ended", tenant=tenant),
            heading=words("The trial of {tenant} has ended", tenant=tenant),
            parts=[
                Paragraph(words("It ended on {until}.", until=words.instant(self.ended_at))),
                Paragraph(
                    words("The API refuses calls now. All data stay, and everything goes on when a plan is chosen.")
                ),
                Button(words("Choose a plan"), words.link(BILLING_PATH)),
            ],
        )


class PaymentFailed(Mail):
    """A payment was declined."""

    kind: ClassVar[str] = "payment_failed"

    amount_minor: int
    currency: str
    invoice_number: str | None = None
    next_attempt_at: datetime | None = None

    def content(self, words: Words, tenant: str) -> Content:
        amount = words.amount(self.amount_minor, self.currency)
        number = [(words("Invoice"), self.invoice_number)] if self.invoice_number else []
        again = [(words("Next attempt"), words.day(self.next_attempt_at))] if self.next_attempt_at else []
        return Content(
            subject=words("A payment of {tenant} failed", tenant=tenant),
            heading=words("A payment failed"),
            parts=[
                Paragraph(words("We could not collect {amount} from {tenant}.", amount=amount, tenant=tenant)),
                Details([*number, (words("Amount"), amount), *again]),
                Paragraph(words("Please check the payment method, so that nothing is interrupted.")),
                Button(words("Check the payment method"), words.link(BILLING_PATH)),
            ],
        )


class InvoiceReady(Mail):
    """There is a new invoice."""

    kind: ClassVar[str] = "invoice"

    invoice_number: str
    amount_minor: int
    currency: str
    due_at: datetime | None = None

    def content(self, words: Words, tenant: str) -> Content:
        amount = words.amount(self.amount_minor, self.currency)
        due = [(words("Due"), words.day(self.due_at))] if self.due_at else []
        return Content(
            subject=words("Invoice {number} for {tenant}", number=self.invoice_number, tenant=tenant),
            heading=words("Your invoice"),
            parts=[
                Paragraph(words("There is a new invoice for {tenant}.", tenant=tenant)),
                Details([(words("Invoice"), self.invoice_number), (words("Amount"), amount), *due]),
                Button(words("See the invoice"), words.link(BILLING_PATH)),
            ],
        )


class EndpointWarned(Mail):
    """A webhook endpoint has failed for a while, and will be disabled."""

    kind: ClassVar[str] = "endpoint_warned"

    endpoint_id: str
    url: str

    def content(self, words: Words, tenant: str) -> Content:
        return Content(
            subject=words("A webhook endpoint of {tenant} is failing", tenant=tenant),
            heading=words("A webhook endpoint is failing"),
            parts=[
                Paragraph(words("No delivery to this endpoint has succeeded for a while.")),
                Details([(words("Address"), self.url)]),
                Paragraph(
                    words("If it goes on like this, the endpoint is disabled, and its events wait for a replay.")
                ),
                Button(words("See the endpoint"), words.link(f"{ENDPOINTS_PATH}/{self.endpoint_id}")),
            ],
        )


class EndpointDisabled(Mail):
    """A webhook endpoint was disabled because of its receiver."""

    kind: ClassVar[str] = "endpoint_disabled"

    endpoint_id: str
    url: str
    reason: str | None = None
    """`gone` (its receiver answered 410) or `failing`, as webhooks says it."""

    def content(self, words: Words, tenant: str) -> Content:
        match self.reason:
            case "gone":
                reason = words("The receiver answered 410 Gone: it wants no more events.")
            case _:
                reason = words("No delivery has succeeded for days.")
        return Content(
            subject=words("A webhook endpoint of {tenant} was disabled", tenant=tenant),
            heading=words("A webhook endpoint was disabled"),
            parts=[
                Paragraph(words("This endpoint gets no more events.")),
                Details([(words("Address"), self.url), (words("Reason"), reason)]),
                Paragraph(words("When the receiver works again, enable the endpoint and replay what it missed.")),
                Button(words("See the endpoint"), words.link(f"{ENDPOINTS_PATH}/{self.endpoint_id}")),
            ],
        )


ALL: tuple[type[Mail], ...] = (
    TrialEnding,
    TrialEnded,
    PaymentFailed,
    InvoiceReady,
    EndpointWarned,
    EndpointDisabled,
)
