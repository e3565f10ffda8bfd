"""Run by Alembic for each migration of billing's database."""

from billing.metadata import Base
from shared.postgres import migrations

migrations.run(Base.metadata)
