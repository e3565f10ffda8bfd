"""The audit trail: who changed what, written in the transaction of the change."""

from webhooks.audit.operations import record
from webhooks.audit.tables import AuditRow

__all__ = ["AuditRow", "record"]
