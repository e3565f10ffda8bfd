"""The audit trail of a tenant."""

from identity.audit.operations import record, record_person
from identity.audit.queries import list_events
from identity.audit.rules import snapshot
from identity.audit.tables import AuditRow

__all__ = ["AuditRow", "list_events", "record", "record_person", "snapshot"]
