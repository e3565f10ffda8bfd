"""Tables of imports: the import, the pieces of its file, its errors, and the references that a dry run has read."""

from typing import Any

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from jobs.registry import Base
from shared.id_columns import ImportId, MerchantId, TenantId
from shared.postgres.column_types import BigInt, Instant, SmallInt, Text, TextArray

PIECE_BYTES = 1024 * 1024
"""Size of every piece of a file but the last."""


class ImportRow(Base, table=True):
    """A file of jobs, its actor, and the progress of the import. A task has a worker handle it."""

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "status IN ('uploading', 'queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("format IN ('csv', 'ndjson')", name="format"),
        Index("ix_imports_of_tenant", "tenant_id", "livemode", "created_at", "id"),
        Index("ix_imports_uploading", "touched_at", postgresql_where=text("status = 'uploading'")),
        Index("ix_imports_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("ix_imports_refused", "finished_at", postgresql_where=text("refused_bytes > 0")),
    )

    id: ImportId = Field(primary_key=True)
    tenant_id: TenantId
    merchant_id: MerchantId | None = None
    """The merchant that started the import; None if an administrator did."""
    for_merchant_id: MerchantId | None = None
    """The merchant of rows that name none."""
    livemode: bool
    status: Text
    """A status of `ImportStatus`, or `uploading` while the file is being received."""
    format: Text
    dry_run: bool
    via: Text
    created_by: Text
    subject_id: Text | None = None
    credential_id: Text | None = None
    credential_digest: Text | None = None
    """These three identify the principal, who is authorized again for each batch of jobs."""
    columns: TextArray
    separator: Text | None = None
    """Of a CSV file; None: a comma."""
    charset: Text | None = None
    """Of the file as it was sent; None: UTF-8. It is stored in UTF-8."""
    bytes_total: BigInt
    bytes_done: BigInt
    """Offset of the next row."""
    next_line: BigInt
    rows_total: int | None = None
    rows_done: int
    jobs_created: int
    rows_failed: int
    refused_bytes: BigInt = 0
    """Bytes of refused rows that are stored."""
    reason: Text | None = None
    reason_code: Text | None = None
    created_at: Instant
    touched_at: Instant
    started_at: Instant | None = None
    finished_at: Instant | None = None


class PieceRow(Base, table=True):
    """A piece of an import's file, all but the last of one size."""

    __tablename__ = "import_pieces"
    __table_args__ = (PrimaryKeyConstraint("import_id", "number", name="pk_import_pieces"),)

    import_id: ImportId = Field(foreign_key="imports.id", ondelete="CASCADE")
    number: int
    content: bytes


class ImportErrorRow(Base, table=True):
    """Why one row of a file was refused."""

    __tablename__ = "import_errors"
    __table_args__ = (PrimaryKeyConstraint("import_id", "line", name="pk_import_errors"),)

    import_id: ImportId = Field(foreign_key="imports.id", ondelete="CASCADE")
    line: BigInt
    reference_id: Text | None = None
    status: SmallInt
    code: Text
    detail: Text
    errors: list[dict[str, Any]] = Field(sa_type=JSONB)
    content: Text | None = None
    """The row: its cells as JSON, or its line; None: unreadable, left out for want of room, or deleted in time."""


class ImportReferenceRow(Base, table=True):
    """A reference that a dry run has read: a second row with it is refused, although the first stored no job."""

    __tablename__ = "import_references"
    __table_args__ = (PrimaryKeyConstraint("import_id", "merchant_id", "reference_id", name="pk_import_references"),)

    import_id: ImportId = Field(foreign_key="imports.id", ondelete="CASCADE")
    merchant_id: MerchantId
    reference_id: Text
