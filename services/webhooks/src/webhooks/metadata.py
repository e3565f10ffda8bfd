"""The metadata of all of webhooks' tables, for migrations."""

from shared.service.tables import add_base_tables
from webhooks.models import (
    AttemptRow,
    AuditRow,
    DeliveryDueRow,
    DeliveryRow,
    EndpointRow,
    EventRow,
    FlightRow,
    ReplayRow,
)
from webhooks.registry import Base

add_base_tables(Base.metadata)

__all__ = [
    "AttemptRow",
    "AuditRow",
    "Base",
    "DeliveryDueRow",
    "DeliveryRow",
    "EndpointRow",
    "EventRow",
    "FlightRow",
    "ReplayRow",
]
