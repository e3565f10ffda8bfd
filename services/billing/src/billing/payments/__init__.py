"""Payment methods, and the attempts to charge them."""

from billing.payments.operations import add_method, begin_attempts, charge_of, delete, lock, make_default, record, send
from billing.payments.queries import (
    default_method,
    default_methods,
    find_under_way,
    get_method,
    is_in_use,
    under_way,
)
from billing.payments.rules import ChargeState, ChargeUnderWay, PaymentMethodInUse, PaymentMethodNotFound
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow

__all__ = [
    "ChargeAttemptRow",
    "ChargeState",
    "ChargeUnderWay",
    "PaymentMethodInUse",
    "PaymentMethodNotFound",
    "PaymentMethodRow",
    "add_method",
    "begin_attempts",
    "charge_of",
    "default_method",
    "default_methods",
    "delete",
    "find_under_way",
    "get_method",
    "is_in_use",
    "lock",
    "make_default",
    "record",
    "send",
    "under_way",
]
