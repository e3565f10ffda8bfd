"""Taxes may differ by region; a credit of a tenant is used by its next invoice."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    one, nothing = sa.text("1"), sa.text("0")
    op.add_column("tenants", sa.Column("region", sa.Text()))
    op.add_column("tenants", sa.Column("details_version", sa.BigInteger(), nullable=False, server_default=one))
    op.add_column("tax_rates", sa.Column("region", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.drop_constraint(op.f("pk_tax_rates"), "tax_rates")
    op.create_primary_key(op.f("pk_tax_rates"), "tax_rates", ["country", "region"])
    op.add_column("invoices", sa.Column("credit_applied", sa.BigInteger(), nullable=False, server_default=nothing))
    op.create_check_constraint(
        op.f("ck_invoices_credit_applied"), "invoices", "credit_applied >= 0 AND credit_applied <= total"
    )
    # Few tenants have ever had a credit; those who have none are known at once.
    op.create_index(
        "ix_ledger_entries_credits",
        "ledger_entries",
        ["tenant_id"],
        postgresql_where=sa.text("account = 'customer_credit'"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
