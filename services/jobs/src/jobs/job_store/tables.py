"""Tables of jobs, actions and history, with their indexes."""

from datetime import date
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, Index, PrimaryKeyConstraint, func, literal_column, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlmodel import Field, col

from jobs.job_store.rules import ActionStatus, JobStatus, JobType
from jobs.registry import Base
from jobs.search_index import TOKENIZER_VERSION
from shared.id_columns import ActionId, EventId, JobId, LocationId, MerchantId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Json, SmallInt, Text, TextArray

NOT_DELETED = "deleted_at IS NULL"
OUTDATED_TOKENS = f"NOT (terms @@ '''{TOKENIZER_VERSION}''')"
UNSCHEDULED = "9999-12-31"
"""Sort key of a job without a date: it comes after all dates."""


def _one_of(column: str, values: object) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in getattr(values, "__args__", ()))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _index(name: str, *columns: Any, where: str = NOT_DELETED, **more: Any) -> Index:
    return Index(name, *columns, postgresql_where=text(where), **more)


def _inverted(name: str) -> Index:
    return _index(
        name,
        "terms",
        postgresql_using="gin",
        # Every search reads the whole pending list, and the insert that overflows it pays for merging it: keep it short.
        postgresql_with={"gin_pending_list_limit": "256"},
    )


def _outdated_tokens(name: str) -> Index:
    # Rows built by an older tokenizer version, which the reindexer has not reached yet.
    return _index(name, "id", where=OUTDATED_TOKENS)


class JobRow(Base, table=True):
    """A job. Fields that searches use have columns of their own; all other fields are JSON in the shape of the API."""

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

    id: JobId = Field(primary_key=True)
    tenant_id: TenantId
    merchant_id: MerchantId
    livemode: bool
    reference_id: Text | None = None
    status: Choice[JobStatus]
    status_reason: Text | None = None
    status_changed_at: Instant
    assigned_to: Text | None = None
    type: Choice[JobType]
    location_id: LocationId
    distribution_location_id: LocationId | None = None
    scheduled_date: date | None = None
    timezone: Text
    time_window: Json | None = None
    priority: SmallInt
    short_description: Text | None = None
    contact: Json
    address: Json
    geo: Json | None = None
    balance_owed: Json | None = None
    instructions: Text | None = None
    invoices: TextArray
    barcodes: TextArray
    tags: TextArray
    metadata_: dict[str, str] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    created_by: Text
    version: BigInt
    """Number of changes, the creation included. Each change publishes one event, whose sequence is this number."""
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None
    erased_at: Instant | None = None
    """When the personal data of its customer was erased."""
    terms: str = Field(sa_type=TSVECTOR)
    parts: Text
    """Tokens and n-grams of `search_index.tokens`, by which the job is found."""
    customer_key: Text | None = None


class ActionRow(Base, table=True):
    """A unit of work of a job."""

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

    id: ActionId = Field(primary_key=True)
    job_id: JobId = Field(foreign_key="jobs.id")
    tenant_id: TenantId
    merchant_id: MerchantId
    livemode: bool
    type: Choice[JobType]
    position: int
    sku: Text | None = None
    description: Text | None = None
    quantity: int
    unit: Text | None = None
    piece_count: int | None = None
    value: Json | None = None
    weight_grams: BigInt | None = None
    volume_cubic_cm: BigInt | None = None
    handling_seconds: int | None = None
    stop: Json | None = None
    invoice_number: Text | None = None
    barcode: Text | None = None
    external_reference_id: Text | None = None
    status: Choice[ActionStatus]
    outcome: Json | None = None
    version: BigInt
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None
    """When it was deleted, alone or with its job. An action deleted with its job has the instant of the job."""
    terms: str = Field(sa_type=TSVECTOR)
    parts: Text


class HistoryRow(Base, table=True):
    """One change of a job: its event, its actor, and the values before and after. Partitioned by month."""

    __tablename__ = "job_history"
    __table_args__ = (
        PrimaryKeyConstraint("job_id", "sequence", "occurred_at", name="pk_job_history"),
        # An erasure also finds jobs by their former contacts.
        Index(
            "ix_job_history_contact",
            text("(changes -> 'contact')"),
            postgresql_using="gin",
            postgresql_where=text("changes ? 'contact'"),
        ),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    job_id: JobId
    sequence: BigInt
    occurred_at: Instant
    event_id: EventId
    type: Text
    actor: Text
    action_id: ActionId | None = None
    changed_fields: TextArray
    changes: Json


NOT_SCHEDULED: ColumnElement[date] = literal_column(f"'{UNSCHEDULED}'::date")
SCHEDULED_ORDER: ColumnElement[date] = func.coalesce(col(JobRow.scheduled_date), NOT_SCHEDULED)
"""The expression of the index `ix_jobs_scheduled`."""
