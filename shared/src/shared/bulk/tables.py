"""The columns of a table of bulk commands. A service has one table for each kind of record."""

from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem
from sqlmodel import Field

from shared.bulk.schemas import BulkStatus
from shared.id_columns import BulkCommandId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Json, Text
from shared.postgres.tables import Table


class BulkRow(Table):
    """A bulk command: what is asked for, by whom, and how far it is."""

    id: BulkCommandId = Field(primary_key=True)
    tenant_id: TenantId
    livemode: bool
    command: Text
    filters: Json
    arguments: Json
    dry_run: bool
    status: Choice[BulkStatus]
    failure: Text | None = None
    cursor: Text | None = None
    """Where the list of matching records goes on; None: at its beginning."""
    matched: BigInt = 0
    changed: BigInt = 0
    unchanged: BigInt = 0
    refused: BigInt = 0
    refusals: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)
    created_by: Text
    via: Text
    subject_id: Text | None = None
    credential_id: Text | None = None
    credential_digest: Text | None = None
    """These four identify the principal, who is authorized again for each step."""
    address: Text
    request_id: Text
    """Where the request came from, for the audit trail."""
    version: BigInt
    created_at: Instant
    updated_at: Instant
    finished_at: Instant | None = None


def table_args(name: str) -> tuple[SchemaItem, ...]:
    """The indexes and conditions of the table of this name."""
    return (
        Index(f"ix_{name}_running", "tenant_id", postgresql_where=text("status = 'running'")),
        Index(f"ix_{name}_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
    )
