"""The metadata of all of billing's tables, for migrations."""

from billing.models import AuditRow, SubscriptionRow, TimerRow
from billing.registry import Base
from shared.migrations import add_plumbing_tables

add_plumbing_tables(Base.metadata)

__all__ = ["AuditRow", "Base", "SubscriptionRow", "TimerRow"]
