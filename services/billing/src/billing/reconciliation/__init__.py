"""Reconciliation: whether invoices, ledger, charges, tasks and providers say the same, and what can be put right."""

from billing.reconciliation.queries import charges_since, differences_within
from billing.reconciliation.rules import Difference, compare_charge

__all__ = ["Difference", "charges_since", "compare_charge", "differences_within"]
