"""Payment methods, and the attempts to charge them."""

from billing.payments.operations import (
    add_method,
    begin_attempts,
    charge_of,
    delete_method,
    lock,
    make_default,
    record,
    send,
)
from billing.payments.queries import (
    default_method,
    default_methods,
    find_under_way,
    get_method,
    list_methods,
    under_way,
)
from billing.payments.rules import ChargeState, ChargeUnderWay, PaymentMethodNotFound
from billing.payments.schemas import PaymentMethod
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow

__all__ = [
    "ChargeAttemptRow",
    "ChargeState",
    "ChargeUnderWay",
    "PaymentMethod",
    "PaymentMethodNotFound",
    "PaymentMethodRow",
    "add_method",
    "begin_attempts",
    "charge_of",
    "default_method",
    "default_methods",
    "delete_method",
    "find_under_way",
    "get_method",
    "list_methods",
    "lock",
    "make_default",
    "record",
    "send",
    "under_way",
]
