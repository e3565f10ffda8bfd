"""The table of bulk commands on merchants."""

from sqlalchemy import CheckConstraint, Index, text

from identity.registry import Base
from shared.bulk import BulkRow


class MerchantCommandRow(Base, BulkRow, table=True):
    """A command for all merchants that match."""

    __tablename__ = "merchant_commands"
    __table_args__ = (
        Index("ix_merchant_commands_running", "tenant_id", postgresql_where=text("status = 'running'")),
        Index("ix_merchant_commands_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
    )
