"""Checkout sessions: a person gives a payment method on the provider's own page."""

from billing.checkout.operations import CHECKOUT, open_session, record
from billing.checkout.queries import find_open, get, reference_of
from billing.checkout.tables import CheckoutSessionRow

__all__ = ["CHECKOUT", "CheckoutSessionRow", "find_open", "get", "open_session", "record", "reference_of"]
