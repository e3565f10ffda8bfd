"""The metadata of all tables of billing, for migrations."""

from billing.registry import Base
from billing.subscriptions import SubscriptionRow
from shared.service.tables import add_base_tables

add_base_tables(Base.metadata)

__all__ = ["Base", "SubscriptionRow"]
