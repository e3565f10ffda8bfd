"""Sessions of browsers, and the calls that renew their tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "browser_sessions",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("person", sa.dialects.postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        _instant("token_expires_at"),
        sa.Column("refresh_token", sa.LargeBinary, nullable=False),
        _instant("created_at"),
        _instant("last_seen_at"),
        _instant("expires_at"),
        _instant("stepped_up_until", nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_browser_sessions")),
    )
    op.create_index(op.f("ix_browser_sessions_expires_at"), "browser_sessions", ["expires_at"])
    op.create_table(
        "refreshes",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        _instant("started_at"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_refreshes")),
    )
    op.create_index(op.f("ix_refreshes_started_at"), "refreshes", ["started_at"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
