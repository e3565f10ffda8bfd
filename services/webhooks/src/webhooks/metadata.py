"""The metadata of all of webhooks' tables, for migrations."""

from shared.service.tables import add_base_tables
from webhooks.deliveries import AttemptRow, DeliveryRow
from webhooks.endpoints import EndpointRow
from webhooks.events import EventRow
from webhooks.queue import BatchLeaseRow, DeliveryDueRow
from webhooks.registry import Base
from webhooks.replays import ReplayRow

add_base_tables(Base.metadata)

__all__ = [
    "AttemptRow",
    "Base",
    "BatchLeaseRow",
    "DeliveryDueRow",
    "DeliveryRow",
    "EndpointRow",
    "EventRow",
    "ReplayRow",
]
