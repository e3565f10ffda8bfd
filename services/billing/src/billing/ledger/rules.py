"""What a posting is: amounts by account that add up to zero; what is positive is a debit."""

from collections.abc import Mapping
from typing import Literal, get_args

Account = Literal["receivable", "revenue", "tax", "cash", "customer_credit"]
ACCOUNTS: tuple[Account, ...] = get_args(Account)
"""What tenants owe; what was sold; taxes that are passed on; what was received; what tenants have paid and do not owe."""
LISTED: tuple[Account, ...] = ("cash", "receivable", "revenue", "tax", "customer_credit")
"""In which order the entries of a posting are listed."""

Cause = Literal["invoice_finalized", "credit_applied", "invoice_paid", "invoice_credited", "overpaid"]


def amounts_of(amounts: Mapping[Account, int]) -> tuple[int, ...]:
    """The amounts of a posting in the order of `LISTED`. Raises `ValueError` when they do not balance."""
    if sum(amounts.values()):
        raise ValueError(f"debits and credits differ: {dict(amounts)}")
    return tuple(amounts.get(account, 0) for account in LISTED)
