"""Subscriptions and their trials: one subscription per tenant, with a task for the end of its trial."""

from billing.subscriptions.operations import TRIAL_END, end_trials, extend_trial, start_trials
from billing.subscriptions.queries import get
from billing.subscriptions.rules import TRIAL_DAYS_MAX
from billing.subscriptions.tables import SubscriptionRow

__all__ = ["TRIAL_DAYS_MAX", "TRIAL_END", "SubscriptionRow", "end_trials", "extend_trial", "get", "start_trials"]
