"""The tables that every service has."""

from sqlalchemy import MetaData

from shared.access import projection
from shared.api import idempotency
from shared.messaging import lag, outbox


def add_base_tables(metadata: MetaData) -> None:
    """Add the tables that every service has to one service's metadata."""
    for module in (outbox, lag, idempotency, projection):
        module.add_tables(metadata)
