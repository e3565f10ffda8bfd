"""Periods for which a subscription is paid."""

from billing.periods.rules import Interval, days_between, next_boundary

__all__ = ["Interval", "days_between", "next_boundary"]
