"""Run by Alembic for each migration of the console's database."""

from console.metadata import Base
from shared.postgres import migrations

migrations.run(Base.metadata)
