"""Run by Alembic for each migration of identity's database."""

from identity.metadata import Base
from shared.postgres import migrations

migrations.run(Base.metadata)
