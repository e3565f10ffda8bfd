"""Payment methods, and the attempts to charge them."""

from billing.payments.operations import add_method, begin_attempts, lock, make_default, record, send
from billing.payments.queries import default_method, default_methods, get_method, under_way
from billing.payments.rules import ChargeUnderWay, PaymentMethodNotFound
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow

__all__ = [
    "ChargeAttemptRow",
    "ChargeUnderWay",
    "PaymentMethodNotFound",
    "PaymentMethodRow",
    "add_method",
    "begin_attempts",
    "default_method",
    "default_methods",
    "get_method",
    "lock",
    "make_default",
    "record",
    "send",
    "under_way",
]
