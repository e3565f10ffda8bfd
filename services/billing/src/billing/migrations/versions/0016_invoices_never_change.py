"""What was invoiced never changes, and neither does a credit note: PostgreSQL refuses it."""

from alembic import op

revision = "0016"
down_revision = "0015"

KEPT = (
    *("id", "tenant_id", "number", "livemode", "currency", "subtotal", "tax", "total", "credit_applied", "plan"),
    *("period_start", "period_end", "due_at", "snapshot", "finalized_at", "created_at"),
)
"""Of an invoice; its status changes, and what goes with that."""
RULES = (
    """
    CREATE FUNCTION documents_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'what was invoiced never changes' USING ERRCODE = 'restrict_violation'; END
    $$
    """,
    f"""
    CREATE TRIGGER invoices_never_change BEFORE UPDATE ON invoices FOR EACH ROW
        WHEN (({", ".join(f"OLD.{name}" for name in KEPT)}) IS DISTINCT FROM ({", ".join(f"NEW.{name}" for name in KEPT)}))
        EXECUTE FUNCTION documents_never_change()
    """,
    """
    CREATE TRIGGER invoices_stay BEFORE DELETE ON invoices FOR EACH STATEMENT EXECUTE FUNCTION documents_never_change()
    """,
    """
    CREATE TRIGGER credit_notes_never_change BEFORE UPDATE OR DELETE ON credit_notes
        FOR EACH STATEMENT EXECUTE FUNCTION documents_never_change()
    """,
)


def upgrade() -> None:
    for rule in RULES:
        op.execute(rule)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
