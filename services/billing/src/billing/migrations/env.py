"""Run by Alembic for each migration of billing's database."""

from billing.models import Base
from shared import migrations

migrations.run(Base.metadata)
