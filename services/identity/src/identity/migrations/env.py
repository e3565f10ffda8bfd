"""How Alembic reaches identity's tables."""

from identity.metadata import Base
from shared import migrations

migrations.run(Base.metadata)
