"""The table of bulk commands on merchants."""

from identity.registry import Base
from shared.bulk import BulkRow, table_args


class MerchantCommandRow(Base, BulkRow, table=True):
    """A command for all merchants that match."""

    __tablename__ = "merchant_commands"
    __table_args__ = table_args("merchant_commands")
