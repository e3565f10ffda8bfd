"""Merchants, users and locations have the words by which they are found. A worker fills them in."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    for table in ("merchants", "users", "locations"):
        op.add_column(table, sa.Column("search_words", sa.ARRAY(sa.Text())))
        op.create_index(
            op.f(f"ix_{table}_search"), table, [sa.text("array_to_tsvector(search_words)")], postgresql_using="gin"
        )
        op.create_index(
            op.f(f"ix_{table}_unsearchable"), table, ["tenant_id"], postgresql_where=sa.text("search_words IS NULL")
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
