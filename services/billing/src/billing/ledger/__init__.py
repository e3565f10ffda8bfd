"""The ledger: every movement of money, in double entry. It only grows."""

from billing.ledger.operations import Posting, post
from billing.ledger.queries import credits_of, list_of_tenant
from billing.ledger.rules import ACCOUNTS, Account, Cause
from billing.ledger.schemas import LedgerEntry
from billing.ledger.tables import LedgerEntryRow

__all__ = [
    "ACCOUNTS",
    "Account",
    "Cause",
    "LedgerEntry",
    "LedgerEntryRow",
    "Posting",
    "credits_of",
    "list_of_tenant",
    "post",
]
