"""The ledger: every movement of money, in double entry. It only grows."""

from billing.ledger.operations import post
from billing.ledger.queries import list_of_tenant
from billing.ledger.rules import ACCOUNTS, Account
from billing.ledger.schemas import LedgerEntry
from billing.ledger.tables import LedgerEntryRow

__all__ = ["ACCOUNTS", "Account", "LedgerEntry", "LedgerEntryRow", "list_of_tenant", "post"]
