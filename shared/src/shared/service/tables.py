"""The tables that every service has."""

from sqlalchemy import MetaData

from shared.access import projection
from shared.api import idempotency
from shared.messaging import lag, outbox
from shared.tasks import store as tasks


def add_base_tables(metadata: MetaData) -> None:
    """Add the tables that every service has to one service's metadata."""
    for module in (outbox, lag, idempotency, projection, tasks):
        module.add_tables(metadata)
