"""Plans, invoices, payments, the ledger; and all that is to come of a subscription has one task."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

INSTANT = sa.DateTime(timezone=True)

# What a statement writes balances, posting by posting; nothing that was written changes.
LEDGER_RULES = (
    """
    CREATE FUNCTION ledger_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the ledger only grows' USING ERRCODE = 'restrict_violation'; END
    $$
    """,
    """
    CREATE TRIGGER ledger_only_grows BEFORE UPDATE OR DELETE ON ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_only_grows()
    """,
    """
    CREATE FUNCTION ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM written GROUP BY posting_id, currency HAVING sum(amount) <> 0) THEN
                RAISE EXCEPTION 'a posting does not balance' USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END
    $$
    """,
    """
    CREATE TRIGGER ledger_balances AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_balances()
    """,
)

REMINDERS = """
    UPDATE subscriptions SET trial_reminder_at = CASE
        WHEN trial_ends_at - interval '3 days' > now() THEN trial_ends_at - interval '3 days'
        WHEN trial_ends_at - interval '1 day' > now() THEN trial_ends_at - interval '1 day'
    END
    WHERE status = 'trialing'
"""


def upgrade() -> None:
    _create_plans_and_tenants()
    _create_invoices()
    _create_payments()
    _create_ledger()
    _widen_subscriptions()
    # What is to come of a trial may be a reminder: each is looked at once, and scheduled anew.
    op.execute(REMINDERS)
    op.execute("UPDATE tasks SET kind = 'subscription_due', due_at = now(), next_at = now() WHERE kind = 'trial_end'")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")


def _create_plans_and_tenants() -> None:
    op.create_table(
        "plans",
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("names", JSONB, nullable=False),
        sa.Column("interval", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("features", JSONB, nullable=False),
        sa.Column("keeps_trial", sa.Boolean, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("code", "version", name=op.f("pk_plans")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_plans_amount")),
        sa.CheckConstraint("interval IN ('month', 'year')", name=op.f("ck_plans_interval")),
    )
    op.create_table(
        "tax_rates",
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("rates", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("country", name=op.f("pk_tax_rates")),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
    )


def _create_invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("subtotal", sa.BigInteger, nullable=False),
        sa.Column("tax", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("period_start", INSTANT, nullable=False),
        sa.Column("period_end", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT),
        sa.Column("snapshot", JSONB, nullable=False),
        sa.Column("finalized_at", INSTANT, nullable=False),
        sa.Column("settled_at", INSTANT),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_invoices_tenant_id_number")),
        sa.CheckConstraint("status IN ('open', 'paid', 'void')", name=op.f("ck_invoices_status")),
        sa.CheckConstraint("total >= 0 AND total = subtotal + tax", name=op.f("ck_invoices_total")),
    )
    op.create_index(
        "uq_invoices_open", "invoices", ["tenant_id"], unique=True, postgresql_where=sa.text("status = 'open'")
    )
    op.create_index("ix_invoices_tenant_id_id", "invoices", ["tenant_id", "id"])
    op.create_table(
        "credit_notes",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("invoice_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_credit_notes_tenant_id_number")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_credit_notes_invoice_id")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_notes_amount")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_credit_notes_invoice_id_invoices")),
    )
    op.create_table(
        "invoice_counters",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("invoices", sa.Integer, nullable=False),
        sa.Column("credit_notes", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_invoice_counters")),
    )


def _create_payments() -> None:
    op.create_table(
        "payment_methods",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint("provider", "reference", name=op.f("uq_payment_methods_provider_reference")),
    )
    op.create_index(
        "uq_payment_methods_default",
        "payment_methods",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )
    op.create_index("ix_payment_methods_tenant_id_id", "payment_methods", ["tenant_id", "id"])
    op.create_table(
        "charge_attempts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("invoice_id", sa.Uuid, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("payment_method_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("sent_at", INSTANT),
        sa.Column("settled_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge_attempts")),
        sa.UniqueConstraint("invoice_id", "n", name=op.f("uq_charge_attempts_invoice_id_n")),
        sa.UniqueConstraint("key", name=op.f("uq_charge_attempts_key")),
        sa.CheckConstraint(
            "state IN ('new', 'sent', 'succeeded', 'declined', 'unknown')", name=op.f("ck_charge_attempts_state")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_charge_attempts_invoice_id_invoices")),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_charge_attempts_payment_method_id_payment_methods"),
        ),
    )
    op.create_index(
        "uq_charge_attempts_under_way",
        "charge_attempts",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('new', 'sent', 'unknown')"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("posting_id", sa.Uuid, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.CheckConstraint(
            "account IN ('receivable', 'revenue', 'tax', 'cash', 'customer_credit')",
            name=op.f("ck_ledger_entries_account"),
        ),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_entries_amount")),
    )
    op.create_index("ix_ledger_entries_tenant_id_id", "ledger_entries", ["tenant_id", "id"])
    for statement in LEDGER_RULES:
        op.execute(statement)


def _widen_subscriptions() -> None:
    no = sa.text("false")
    for column in (
        sa.Column("plan_version", sa.Integer),
        sa.Column("next_plan", sa.Text),
        sa.Column("next_plan_version", sa.Integer),
        sa.Column("trial_reminder_at", INSTANT),
        sa.Column("trial_outcome", sa.Text),
        sa.Column("anchor_at", INSTANT),
        sa.Column("current_period_start", INSTANT),
        sa.Column("complimentary", sa.Boolean, nullable=False, server_default=no),
        sa.Column("by_charge", sa.Boolean, nullable=False, server_default=no),
        sa.Column("payment_pending", sa.Boolean, nullable=False, server_default=no),
        sa.Column("charging", sa.Boolean, nullable=False, server_default=no),
        sa.Column("method_needed", sa.Boolean, nullable=False, server_default=no),
        sa.Column("payment_due_at", INSTANT),
        sa.Column("past_due_since", INSTANT),
        sa.Column("retry_at", INSTANT),
        sa.Column("clock_offset", sa.Interval, nullable=False, server_default=sa.text("'0'")),
    ):
        op.add_column("subscriptions", column)
    op.execute("UPDATE subscriptions SET trial_outcome = 'expired' WHERE status = 'expired'")
    op.drop_constraint(op.f("ck_subscriptions_status"), "subscriptions")
    op.create_check_constraint(
        op.f("ck_subscriptions_status"),
        "subscriptions",
        "status IN ('trialing', 'incomplete', 'active', 'past_due', 'unpaid', 'canceled', 'expired')",
    )
    op.create_check_constraint(
        op.f("ck_subscriptions_access_until"),
        "subscriptions",
        "access_until IS NOT NULL OR status IN ('active', 'past_due')",
    )
    op.create_check_constraint(
        op.f("ck_subscriptions_period"),
        "subscriptions",
        "status NOT IN ('incomplete', 'active', 'past_due', 'unpaid')"
        " OR (plan_version IS NOT NULL AND current_period_end IS NOT NULL)",
    )
    for columns in (["plan", "plan_version"], ["next_plan", "next_plan_version"]):
        op.create_foreign_key(
            op.f(f"fk_subscriptions_{'_'.join(columns)}_plans"), "subscriptions", "plans", columns, ["code", "version"]
        )
