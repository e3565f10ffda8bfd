"""Know of each tenant whether its merchants' jobs are reviewed first (a part of what every service knows of access)."""

from shared.migrations import upgrade_plumbing

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    upgrade_plumbing(2)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
