"""Endpoints, events, deliveries with their queue and their attempts, the audit trail."""

import sqlalchemy as sa
from alembic import op

from shared.postgres.migrations import create_base_tables

revision = "0001"
down_revision = None


def _instant(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    create_base_tables()
    _create_endpoints()
    _create_events()
    _create_deliveries()
    _create_queue()
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        _instant("at", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_tenant_id_audit_events_id"), "audit_events", ["tenant_id", "id"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")


def _create_endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("location_ids", sa.ARRAY(sa.Uuid)),
        sa.Column("headers_sealed", sa.LargeBinary),
        sa.Column("secret_sealed", sa.LargeBinary),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        _instant("created_at", nullable=False),
        _instant("updated_at", nullable=False),
        _instant("deleted_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_endpoints_version")),
        sa.CheckConstraint("deleted_at IS NOT NULL OR secret_sealed IS NOT NULL", name=op.f("ck_endpoints_secret")),
    )
    op.create_index(
        "ix_endpoints_tenant_id", "endpoints", ["tenant_id", "id"], postgresql_where=sa.text("deleted_at IS NULL")
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("location_ids", sa.ARRAY(sa.Uuid), nullable=False),
        _instant("occurred_at", nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("attempts_made", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("response_status", sa.SmallInteger),
        sa.Column("cause", sa.Text),
        _instant("next_attempt_at"),
        _instant("updated_at"),
        _instant("delivered_at"),
        _instant("failed_at"),
        sa.Column("failure", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", "endpoint_id", name=op.f("uq_deliveries_event_id_endpoint_id")),
        sa.CheckConstraint("delivered_at IS NULL OR failed_at IS NULL", name=op.f("ck_deliveries_one_end")),
        sa.CheckConstraint("(failed_at IS NULL) = (failure IS NULL)", name=op.f("ck_deliveries_failure")),
    )
    op.create_index(op.f("ix_deliveries_tenant_id_deliveries_id"), "deliveries", ["tenant_id", "id"])
    op.create_index(op.f("ix_deliveries_endpoint_id_deliveries_id"), "deliveries", ["endpoint_id", "id"])
    op.create_index(
        "ix_deliveries_failed", "deliveries", ["tenant_id", "id"], postgresql_where=sa.text("failed_at IS NOT NULL")
    )
    # Room in each page for the one update that a success is.
    op.execute("ALTER TABLE deliveries SET (fillfactor = 70)")
    op.create_table(
        "attempts",
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        _instant("started_at", nullable=False),
        sa.Column("latency_ms", sa.Integer, nullable=False),
        sa.Column("response_status", sa.SmallInteger),
        sa.Column("cause", sa.Text),
        sa.Column("response_body", sa.Text),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_attempts")),
    )


def _create_queue() -> None:
    op.create_table(
        "delivery_due",
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        _instant("due_at", nullable=False),
        sa.Column("lease_token", sa.BigInteger),
        sa.Column("retry", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_delivery_due")),
        sa.CheckConstraint("lease_token IS NULL OR lease_token > 0", name=op.f("ck_delivery_due_lease_token")),
    )
    op.create_index(
        op.f("ix_delivery_due_retry_delivery_due_endpoint_id_delivery_due_due_at"),
        "delivery_due",
        ["retry", "endpoint_id", "due_at"],
    )
    # Rows live for milliseconds: vacuum by count, and never give space back (that would lock the table).
    op.execute(
        """
        ALTER TABLE delivery_due SET (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
            autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
        )
        """
    )
