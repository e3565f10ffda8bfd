"""Subscriptions and their trials: one subscription per tenant, with a timer for the end of its trial."""

from billing.subscriptions.operations import earliest_scheduled_timer, extend_trial, run_due_timers, start_trials
from billing.subscriptions.queries import get, next_timer_due_at
from billing.subscriptions.rules import TRIAL_DAYS_MAX
from billing.subscriptions.tables import SubscriptionRow, TimerRow

__all__ = [
    "TRIAL_DAYS_MAX",
    "SubscriptionRow",
    "TimerRow",
    "earliest_scheduled_timer",
    "extend_trial",
    "get",
    "next_timer_due_at",
    "run_due_timers",
    "start_trials",
]
