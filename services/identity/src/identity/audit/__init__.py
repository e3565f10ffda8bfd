"""The audit trail: what the audit events of all services say, in one list for each tenant."""

from identity.audit.operations import AuditExports, delete_older, store, store_own_events
from identity.audit.queries import list_events
from identity.audit.schemas import ServiceName
from identity.audit.tables import AuditRow

__all__ = ["AuditExports", "AuditRow", "ServiceName", "delete_older", "list_events", "store", "store_own_events"]
