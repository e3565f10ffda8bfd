"""Alembic's entry; everything is in `shared.postgres.migrations`."""

from jobs.metadata import Base
from shared.postgres import migrations

migrations.run(Base.metadata)
