"""The table of events that mails were written for."""

from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import EventId
from shared.postgres.column_types import Instant


class MailedEventRow(Base, table=True):
    """An event of another service, so that its redelivery writes no second mail. Deleted when no consumer can see the event again."""

    __tablename__ = "mailed_events"

    event_id: EventId = Field(primary_key=True)
    mailed_at: Instant = Field(index=True)
