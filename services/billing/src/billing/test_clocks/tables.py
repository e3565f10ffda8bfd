"""The tables of test clocks, and of the replicas that go by them."""

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from billing.registry import Base
from billing.test_clocks.rules import ClockStatus
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Text, TextArray


class TestClockRow(Base, table=True):
    """The clock of a test tenant. How far it is ahead stands in the subscription."""

    __tablename__ = "test_clocks"
    __table_args__ = (CheckConstraint("status IN ('ready', 'advancing')", name="status"),)

    tenant_id: TenantId = Field(primary_key=True)
    status: Choice[ClockStatus]
    target_at: Instant | None = None
    arrival_event: Text | None = None
    """The event that told of the arrival; None: it is still on its way."""
    acknowledged_by: TextArray
    """Replicas (`service/name`) in which that event is in force."""
    acknowledged_at: Instant | None = None
    """Since when a replica of each service is known to be among them."""
    version: BigInt
    created_at: Instant
    updated_at: Instant


class ReplicaRow(Base, table=True):
    """A process of a service that decides who may call it, as it was last heard of."""

    __tablename__ = "replicas"

    replica: Text = Field(primary_key=True)
    """`service/name`."""
    last_heard_at: Instant
