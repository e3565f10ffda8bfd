"""The audit trail of a tenant: who changed what, from where, with the values before and after."""

from identity.audit.operations import record, record_person
from identity.audit.queries import list_events
from identity.audit.tables import AuditRow

__all__ = ["AuditRow", "list_events", "record", "record_person"]
