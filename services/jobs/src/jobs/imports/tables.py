"""Rows of imports: the import, the pieces of its file, its errors, and the references that a dry run has seen."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field as ColumnField

from jobs.registry import Base
from shared.postgres.tables import TypedId


def _required(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=False))


def _nullable(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=True))


def _of_import() -> Any:
    return Column(TypedId("imp"), ForeignKey("imports.id", ondelete="CASCADE"), nullable=False)


class ImportRow(Base, table=True):
    """A file of jobs, who asked for it, and how far it is done. Whoever works on it holds its lease."""

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "status IN ('uploading', 'queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("format IN ('csv', 'ndjson')", name="format"),
        Index("ix_imports_of_tenant", "tenant_id", "livemode", "created_at", "id"),
        Index("ix_imports_due", "turn_at", "id", postgresql_where=text("status IN ('queued', 'running')")),
        Index("ix_imports_uploading", "touched_at", postgresql_where=text("status = 'uploading'")),
        Index("ix_imports_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: str = ColumnField(sa_column=Column(TypedId("imp"), primary_key=True))
    tenant_id: str = _required(TypedId("ten"))
    merchant_id: str | None = _nullable(TypedId("mer"))
    """The merchant who asked; None when an administrator did."""
    for_merchant_id: str | None = _nullable(TypedId("mer"))
    """Whose jobs they are where a row names nobody."""
    livemode: bool = _required(Boolean())
    status: str = _required(Text())
    """As in `ImportStatus`; before, while the file is arriving: uploading."""
    format: str = _required(Text())
    dry_run: bool = _required(Boolean())
    via: str = _required(Text())
    created_by: str = _required(Text())
    subject_id: str | None = _nullable(Text())
    credential_id: str | None = _nullable(Text())
    credential_digest: str | None = _nullable(Text())
    """With these the standing of whoever asked is found again, each time that jobs are created in their name."""
    columns: list[str] = _required(ARRAY(Text))
    bytes_total: int = _required(BigInteger())
    bytes_done: int = _required(BigInteger())
    """Where the next row begins."""
    next_line: int = _required(BigInteger())
    rows_total: int | None = _nullable(Integer())
    rows_done: int = _required(Integer())
    jobs_created: int = _required(Integer())
    rows_failed: int = _required(Integer())
    reason: str | None = _nullable(Text())
    reason_code: str | None = _nullable(Text())
    created_at: datetime = _required(DateTime(timezone=True))
    touched_at: datetime = _required(DateTime(timezone=True))
    started_at: datetime | None = _nullable(DateTime(timezone=True))
    finished_at: datetime | None = _nullable(DateTime(timezone=True))
    turn_at: datetime = _required(DateTime(timezone=True))
    """Since when it waits for its turn: whoever waits longest is next."""
    lease_token: UUID | None = _nullable(Uuid())
    leased_until: datetime | None = _nullable(DateTime(timezone=True))
    failures: int = _required(SmallInteger())
    """Turns in a row that came to nothing."""


class PieceRow(Base, table=True):
    """A piece of an import's file, all but the last of one size."""

    __tablename__ = "import_pieces"
    __table_args__ = (PrimaryKeyConstraint("import_id", "number", name="pk_import_pieces"),)

    import_id: str = ColumnField(sa_column=_of_import())
    number: int = _required(Integer())
    content: bytes = _required(LargeBinary())


class ImportErrorRow(Base, table=True):
    """Why one row of a file is no job."""

    __tablename__ = "import_errors"
    __table_args__ = (PrimaryKeyConstraint("import_id", "line", name="pk_import_errors"),)

    import_id: str = ColumnField(sa_column=_of_import())
    line: int = _required(BigInteger())
    reference_id: str | None = _nullable(Text())
    status: int = _required(SmallInteger())
    code: str = _required(Text())
    detail: str = _required(Text())
    errors: list[dict[str, Any]] = _required(JSONB())


class ImportReferenceRow(Base, table=True):
    """A reference that a dry run has met: a second job with it would be refused, though the first was not kept."""

    __tablename__ = "import_references"
    __table_args__ = (PrimaryKeyConstraint("import_id", "merchant_id", "reference_id", name="pk_import_references"),)

    import_id: str = ColumnField(sa_column=_of_import())
    merchant_id: str = _required(TypedId("mer"))
    reference_id: str = _required(Text())


PIECE_BYTES = 1024 * 1024
