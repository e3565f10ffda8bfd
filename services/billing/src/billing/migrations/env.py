"""Run by Alembic for each migration of billing's database."""

from billing.metadata import Base
from shared import migrations

migrations.run(Base.metadata)
