"""How Alembic reaches identity's tables."""

from identity.metadata import Base
from shared.postgres import migrations

migrations.run(Base.metadata)
