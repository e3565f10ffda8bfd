"""Alembic's entry; everything is in `shared.migrations`."""

from jobs.models.tables import Base
from shared import migrations

migrations.run(Base.metadata)
