"""Run by Alembic for each migration of webhooks' database."""

from shared.postgres import migrations
from webhooks.metadata import Base

migrations.run(Base.metadata)
