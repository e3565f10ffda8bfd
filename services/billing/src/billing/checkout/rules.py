"""How long a checkout session lasts, and when its page is looked at again."""

from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from shared.errors import Conflict, NotFound, Unavailable

CheckoutStatus = Literal["open", "completed", "expired"]

LIFE = timedelta(hours=24)
SOON, WHILE_SOON = timedelta(seconds=2), timedelta(minutes=10)
LATER = timedelta(minutes=1)


class PaymentsByHand(Conflict):
    """No payment provider is set up."""

    code = "payments_by_hand"

    def __init__(self) -> None:
        super().__init__("invoices are paid by hand here: there is no payment provider")


class ProviderUnavailable(Unavailable):
    """The provider did not open a page."""

    def __init__(self) -> None:
        super().__init__(
            "the payment provider does not answer", retry_after_seconds=5, code="payment_provider_unavailable"
        )


class CheckoutSessionNotFound(NotFound):
    """The tenant has no such checkout session."""

    code = "checkout_session_not_found"

    def __init__(self) -> None:
        super().__init__("no such checkout session")


def way_back(return_url: str, checkout_session_id: str) -> str:
    """Where the page sends people back to, with the session that it was of; empty: nowhere."""
    if not return_url:
        return ""
    return f"{return_url}{'&' if '?' in return_url else '?'}{urlencode({'checkout_session': checkout_session_id})}"


def look_again(opened_at: datetime, now: datetime) -> timedelta:
    """How long after `now` an open page is looked at again: people who pay do so soon."""
    return SOON if now - opened_at < WHILE_SOON else LATER
