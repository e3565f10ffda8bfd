"""The table of events that people were told of."""

from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import EventId
from shared.postgres.column_types import Instant


class MailedEventRow(Base, table=True):
    """An event of another service, so that its redelivery writes no second mail. Deleted when the event is too old to be told of."""

    __tablename__ = "mailed_events"

    event_id: EventId = Field(primary_key=True)
    mailed_at: Instant = Field(index=True)
