"""Rows of jobs, actions and history, with their indexes. The base class of all tables of this service."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlmodel import Field as ColumnField
from sqlmodel import col

from jobs.job_store.rules import ActionStatus, JobStatus, JobType
from jobs.registry import Base
from jobs.search_index import TOKENIZER_VERSION
from shared.postgres.tables import TypedId

NOT_DELETED = "deleted_at IS NULL"
OUTDATED_TOKENS = f"NOT (terms @@ '''{TOKENIZER_VERSION}''')"
UNSCHEDULED = "9999-12-31"
"""Where a job without a date stands in the order of dates: after all of them."""


def _one_of(column: str, values: object) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in getattr(values, "__args__", ()))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _required(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=False))


def _nullable(kind: Any) -> Any:
    return ColumnField(sa_column=Column(kind, nullable=True))


def _index(name: str, *columns: Any, where: str = NOT_DELETED, **more: Any) -> Index:
    return Index(name, *columns, postgresql_where=text(where), **more)


def _inverted(name: str) -> Index:
    return _index(
        name,
        "terms",
        postgresql_using="gin",
        # Entries that wait to be sorted in slow every search and, once there are many, whoever inserts next: keep them few.
        postgresql_with={"gin_pending_list_limit": "256"},
    )


def _outdated_tokens(name: str) -> Index:
    # What was filed by the rules of before, until `filing` has come to it.
    return _index(name, "id", where=OUTDATED_TOKENS)


class JobRow(Base, table=True):
    """A job. What is searched has a column of its own; what only travels along is kept as JSON in the API's own shape."""

    __tablename__ = "jobs"
    __table_args__ = (
        _one_of("status", JobStatus),
        _one_of("type", JobType),
        _index(
            "uq_jobs_reference",
            "merchant_id",
            "livemode",
            "reference_id",
            unique=True,
            where=f"reference_id IS NOT NULL AND {NOT_DELETED}",
        ),
        _index(
            "ix_jobs_reference",
            "tenant_id",
            "livemode",
            "reference_id",
            where=f"reference_id IS NOT NULL AND {NOT_DELETED}",
        ),
        _index("ix_jobs_of_tenant", "tenant_id", "livemode", "created_at", "id"),
        _index("ix_jobs_of_merchant", "merchant_id", "livemode", "created_at", "id"),
        _index("ix_jobs_of_location", "tenant_id", "livemode", "location_id", "created_at", "id"),
        _index("ix_jobs_of_status", "tenant_id", "livemode", "status", "created_at", "id"),
        _index("ix_jobs_of_type", "tenant_id", "livemode", "type", "created_at", "id"),
        _index("ix_jobs_updated", "tenant_id", "livemode", "updated_at", "id"),
        _index("ix_jobs_status_changed", "tenant_id", "livemode", "status_changed_at", "id"),
        _index(
            "ix_jobs_scheduled",
            "tenant_id",
            "livemode",
            text(f"coalesce(scheduled_date, '{UNSCHEDULED}'::date)"),
            "created_at",
            "id",
        ),
        _index("ix_jobs_of_customer", "tenant_id", "livemode", "customer_key", "created_at", "id"),
        _inverted("ix_jobs_search"),
        _index("ix_jobs_deleted", "tenant_id", "livemode", "created_at", "id", where="deleted_at IS NOT NULL"),
        _index("ix_jobs_purged", "deleted_at", where="deleted_at IS NOT NULL"),
        _outdated_tokens("ix_jobs_unfiled"),
    )

    id: str = ColumnField(sa_column=Column(TypedId("job"), primary_key=True))
    tenant_id: str = _required(TypedId("ten"))
    merchant_id: str = _required(TypedId("mer"))
    livemode: bool = _required(Boolean())
    reference_id: str | None = _nullable(Text())
    status: JobStatus = _required(Text())
    status_reason: str | None = _nullable(Text())
    status_changed_at: datetime = _required(DateTime(timezone=True))
    assigned_to: str | None = _nullable(Text())
    type: JobType = _required(Text())
    location_id: str = _required(TypedId("loc"))
    distribution_location_id: str | None = _nullable(TypedId("loc"))
    scheduled_date: date | None = _nullable(Date())
    timezone: str = _required(Text())
    time_window: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    priority: int = _required(SmallInteger())
    short_description: str | None = _nullable(Text())
    contact: dict[str, Any] = _required(JSONB())
    address: dict[str, Any] = _required(JSONB())
    geo: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    balance_owed: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    instructions: str | None = _nullable(Text())
    invoices: list[str] = _required(ARRAY(Text))
    barcodes: list[str] = _required(ARRAY(Text))
    tags: list[str] = _required(ARRAY(Text))
    metadata_: dict[str, str] = ColumnField(sa_column=Column("metadata", JSONB, nullable=False))
    created_by: str = _required(Text())
    version: int = _required(BigInteger())
    """Changes so far, its creation included; each published one event, which carries this number as its sequence."""
    created_at: datetime = _required(DateTime(timezone=True))
    updated_at: datetime = _required(DateTime(timezone=True))
    deleted_at: datetime | None = _nullable(DateTime(timezone=True))
    erased_at: datetime | None = _nullable(DateTime(timezone=True))
    """When its customer's personal data was erased."""
    terms: str = _required(TSVECTOR())
    parts: str = _required(Text())
    """Both of `domain.terms`: how the job is found."""
    customer_key: str | None = _nullable(Text())


class ActionRow(Base, table=True):
    """A unit of work inside a job; the job is its aggregate."""

    __tablename__ = "actions"
    __table_args__ = (
        _one_of("status", ActionStatus),
        _one_of("type", JobType),
        Index("ix_actions_of_job", "job_id", "position", "id"),
        _index("ix_actions_of_tenant", "tenant_id", "livemode", "created_at", "id"),
        _index("ix_actions_of_merchant", "merchant_id", "livemode", "created_at", "id"),
        _index("ix_actions_of_status", "tenant_id", "livemode", "status", "created_at", "id"),
        _index("ix_actions_of_type", "tenant_id", "livemode", "type", "created_at", "id"),
        _index("ix_actions_updated", "tenant_id", "livemode", "updated_at", "id"),
        _inverted("ix_actions_search"),
        _index("ix_actions_purged", "deleted_at", where="deleted_at IS NOT NULL"),
        _outdated_tokens("ix_actions_unfiled"),
    )

    id: str = ColumnField(sa_column=Column(TypedId("act"), primary_key=True))
    job_id: str = ColumnField(sa_column=Column(TypedId("job"), ForeignKey("jobs.id"), nullable=False))
    tenant_id: str = _required(TypedId("ten"))
    merchant_id: str = _required(TypedId("mer"))
    livemode: bool = _required(Boolean())
    type: JobType = _required(Text())
    position: int = _required(Integer())
    sku: str | None = _nullable(Text())
    description: str | None = _nullable(Text())
    quantity: int = _required(Integer())
    unit: str | None = _nullable(Text())
    piece_count: int | None = _nullable(Integer())
    value: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    weight_grams: int | None = _nullable(BigInteger())
    volume_cubic_cm: int | None = _nullable(BigInteger())
    handling_seconds: int | None = _nullable(Integer())
    stop: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    invoice_number: str | None = _nullable(Text())
    barcode: str | None = _nullable(Text())
    external_reference_id: str | None = _nullable(Text())
    status: ActionStatus = _required(Text())
    outcome: dict[str, Any] | None = _nullable(JSONB(none_as_null=True))
    version: int = _required(BigInteger())
    created_at: datetime = _required(DateTime(timezone=True))
    updated_at: datetime = _required(DateTime(timezone=True))
    deleted_at: datetime | None = _nullable(DateTime(timezone=True))
    """When it, or its job with it, was deleted; an action that went with its job has the job's own instant."""
    terms: str = _required(TSVECTOR())
    parts: str = _required(Text())


class HistoryRow(Base, table=True):
    """What one change did to a job: its event, who caused it, and the values before and after. Partitioned by month."""

    __tablename__ = "job_history"
    __table_args__ = (
        PrimaryKeyConstraint("job_id", "sequence", "occurred_at", name="pk_job_history"),
        # Whom a job was to visit before: an erasure looks there, too.
        Index(
            "ix_job_history_contact",
            text("(changes -> 'contact')"),
            postgresql_using="gin",
            postgresql_where=text("changes ? 'contact'"),
        ),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    job_id: str = _required(TypedId("job"))
    sequence: int = _required(BigInteger())
    occurred_at: datetime = _required(DateTime(timezone=True))
    event_id: str = _required(TypedId("evt"))
    type: str = _required(Text())
    actor: str = _required(Text())
    action_id: str | None = _nullable(TypedId("act"))
    changed_fields: list[str] = _required(ARRAY(Text))
    changes: dict[str, Any] = _required(JSONB())


NOT_SCHEDULED: ColumnElement[date] = literal_column(f"'{UNSCHEDULED}'::date")
SCHEDULED_ORDER: ColumnElement[date] = func.coalesce(col(JobRow.scheduled_date), NOT_SCHEDULED)
"""Just as the index of the order of dates has it."""
