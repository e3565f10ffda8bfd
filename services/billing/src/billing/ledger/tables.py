"""The table of the ledger. PostgreSQL refuses to change or delete a row, and a posting that does not balance."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, text
from sqlmodel import Field

from billing.ledger.rules import ACCOUNTS, Account, Cause
from billing.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Text

_ACCOUNT_LIST = ", ".join(f"'{account}'" for account in ACCOUNTS)


class LedgerEntryRow(Base, table=True):
    """One side of a posting."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint(f"account IN ({_ACCOUNT_LIST})", name="account"),
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_ledger_entries_tenant_id_id", "tenant_id", "id"),
        # Few tenants have ever had a credit; those who have none are known at once.
        Index("ix_ledger_entries_credits", "tenant_id", postgresql_where=text("account = 'customer_credit'")),
    )

    id: BigInt | None = Field(default=None, primary_key=True, sa_column_args=[Identity(always=True)])
    tenant_id: TenantId
    posting_id: UUID
    cause: Choice[Cause]
    account: Choice[Account]
    currency: Text
    amount: BigInt
    document: Text
    at: Instant
