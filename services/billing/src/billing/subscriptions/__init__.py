"""Subscriptions: trials, purchases, changes, dunning; one subscription per tenant, with a task for what comes next of it."""

from billing.subscriptions.effects import CHARGE, SUBSCRIPTION_DUE
from billing.subscriptions.operations import (
    advance_clock,
    cancel,
    change,
    clock_offset,
    close,
    do_what_is_due,
    extend_trial,
    grant,
    lock_clock,
    mark_paid,
    method_given,
    pay_invoice,
    preview,
    record_charge,
    reschedule,
    resume,
    start_trials,
    subscribe,
    without_tasks,
)
from billing.subscriptions.queries import get, list_all, lock_for_update
from billing.subscriptions.rules import TRIAL_DAYS_MAX
from billing.subscriptions.tables import SubscriptionRow

__all__ = [
    "CHARGE",
    "SUBSCRIPTION_DUE",
    "TRIAL_DAYS_MAX",
    "SubscriptionRow",
    "advance_clock",
    "cancel",
    "change",
    "clock_offset",
    "close",
    "do_what_is_due",
    "extend_trial",
    "get",
    "grant",
    "list_all",
    "lock_clock",
    "lock_for_update",
    "mark_paid",
    "method_given",
    "pay_invoice",
    "preview",
    "record_charge",
    "reschedule",
    "resume",
    "start_trials",
    "subscribe",
    "without_tasks",
]
