"""How Alembic reaches identity's tables."""

from identity.models import Base
from shared import migrations

migrations.run(Base.metadata)
