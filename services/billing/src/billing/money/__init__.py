"""Amounts of money: integers in the minor unit of their currency."""

from billing.money.rules import AMOUNT_MAX, major, round_half_even, round_together

__all__ = ["AMOUNT_MAX", "major", "round_half_even", "round_together"]
