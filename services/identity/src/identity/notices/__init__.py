"""Notices: what other services publish, as mail to the people of a tenant whom it concerns."""

from identity.notices.operations import delete_mailed_events, write
from identity.notices.tables import MailedEventRow

__all__ = ["MailedEventRow", "delete_mailed_events", "write"]
